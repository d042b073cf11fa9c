//! What every API client in socle is made of: shared informers, work queues, events and leader
//! election over a `kube::Client`. Where that client leads (in-process or over TLS) is the wiring's
//! business; nothing here can tell.

pub mod host_ports;
pub mod informer;
pub mod key;
pub mod leader;
mod metrics;
pub mod queue;
pub mod recorder;
pub mod requests;
pub mod runner;

pub use informer::{Change, Informer, Informers, Object};
pub use key::Key;
pub use leader::{Leadership, lead};
pub use queue::Queue;
pub use recorder::{EventType, Recorder, reference};
pub use runner::run;

//! The scheduler: finds a node for each pod that has none. An ordinary API client: it reads through
//! informers and writes bindings, conditions and events.
//!
//! A cycle (`cycle`) is pure: a pod and a snapshot of the nodes in, a node or the reasons out, through
//! the `plugins`. `run` is the shell around it: the queue, assumed pods, volume binding and the bind call.

mod cycle;
mod framework;
mod nodes;
mod plugins;
mod preemption;
mod queue;
mod resources;
mod run;
mod selector;
mod volumes;

pub use run::{Config, run};

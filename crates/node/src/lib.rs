//! The node agent (upstream's kubelet): runs the pods that are bound to its node.

pub mod config;
pub mod cri;
pub mod fields;
mod garbage;
mod node;
pub mod objects;
pub mod pods;
pub mod probes;
pub mod quantities;
pub mod server;
pub mod status;
pub mod volumes;

pub use config::Config;
pub use node::Node;
pub use pods::{ContainerRef, Pods};

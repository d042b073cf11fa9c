//! What the cluster is told of the node itself: its object, its status, its lease.

mod conditions;
mod heartbeat;
pub mod machine;
mod register;

pub use heartbeat::run as heartbeat;
pub use register::{Reporter, run as report};

//! The container runtime: a containerd of socle's own, kept running beside it. It is no child that
//! ends with socle, so that pods live through a restart; a socle that starts again finds it by its
//! socket.

pub mod images;
mod keeper;
mod settings;

pub use keeper::{Containerd, stop_everything};

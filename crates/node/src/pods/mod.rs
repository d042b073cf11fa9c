//! The pods of this node. `manager` hands what the API and the runtime tell to one `worker` per pod;
//! a worker observes (`observe`, `state`), decides (`plan`), acts (`actions`) and reports (`status`).

mod actions;
mod allocation;
pub mod backoff;
mod cgroups;
mod container;
pub(crate) mod core;
mod credentials;
mod dns;
mod env;
mod expand;
mod hooks;
mod hosts;
mod images;
mod logs;
pub mod lookup;
mod manager;
mod observe;
mod orphans;
pub mod plan;
mod resize;
pub mod resources;
mod sandbox;
mod security;
pub mod spec;
pub mod state;
mod status;
mod worker;

pub(crate) use self::core::core;
pub use lookup::{ContainerRef, Pods};
pub use manager::{Manager, RuntimeState};

/// Removes the logs of the pods of this node, which is taken down for good.
pub fn remove_logs(config: &crate::Config) {
    let ours = orphans::on_disk(config.root_dir.clone());
    logs::sweep(&config.pod_logs_dir, &config.container_logs_dir, |uid| !ours.contains(uid));
}

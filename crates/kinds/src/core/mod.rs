//! The core group.

mod binding;
mod component_status;
mod config_map;
mod endpoints;
pub mod event;
mod limit_range;
mod namespace;
mod node;
mod persistent_volume;
pub mod persistent_volume_claim;
mod pod;
pub mod pod_template;
mod replication_controller;
pub mod resource_names;
mod resource_quota;
mod secret;
pub mod service;
mod service_account;
mod storage;
mod template;
#[cfg(test)]
mod tests;

use crate::Kind;
use std::sync::Arc;

/// In the order of discovery.
pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(binding::Binding),
        Arc::new(component_status::ComponentStatus),
        Arc::new(config_map::ConfigMap),
        Arc::new(endpoints::Endpoints),
        Arc::new(event::Event),
        Arc::new(limit_range::LimitRange),
        Arc::new(namespace::Namespace),
        Arc::new(node::Node),
        Arc::new(persistent_volume_claim::PersistentVolumeClaim),
        Arc::new(persistent_volume::PersistentVolume),
        Arc::new(pod::Pod),
        Arc::new(template::PodTemplate),
        Arc::new(replication_controller::ReplicationController),
        Arc::new(resource_quota::ResourceQuota),
        Arc::new(secret::Secret),
        Arc::new(service_account::ServiceAccount),
        Arc::new(service::Service),
    ]
}

//! apps/v1: what keeps pods running.

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod stateful_set;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(controller_revision::ControllerRevision),
        Arc::new(daemon_set::DaemonSet),
        Arc::new(deployment::Deployment),
        Arc::new(replica_set::ReplicaSet),
        Arc::new(stateful_set::StatefulSet),
    ]
}

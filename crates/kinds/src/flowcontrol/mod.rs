//! flowcontrol.apiserver.k8s.io/v1: whose requests wait.

mod flow_schema;
mod priority_level_configuration;

use crate::Kind;
use std::sync::Arc;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(flow_schema::FlowSchema), Arc::new(priority_level_configuration::PriorityLevelConfiguration)]
}

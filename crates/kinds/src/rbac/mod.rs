//! rbac.authorization.k8s.io/v1: who may do what.

mod bindings;
mod roles;

use crate::Kind;
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(bindings::ClusterRoleBinding), Arc::new(roles::ClusterRole), Arc::new(bindings::RoleBinding), Arc::new(roles::Role)]
}

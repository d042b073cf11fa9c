//! apiregistration.k8s.io/v1: who serves which group.

mod api_service;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(api_service::APIService)]
}

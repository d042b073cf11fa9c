//! discovery.k8s.io/v1: where the endpoints of services are.

mod endpoint_slice;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(endpoint_slice::EndpointSlice)]
}

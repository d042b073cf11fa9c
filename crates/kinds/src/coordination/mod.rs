//! coordination.k8s.io/v1: who leads, and who is alive.

mod lease;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(lease::Lease)]
}

//! scheduling.k8s.io/v1: who goes first.

mod priority_class;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(priority_class::PriorityClass)]
}

//! node.k8s.io/v1: ways to run a pod.

mod runtime_class;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(runtime_class::RuntimeClass)]
}

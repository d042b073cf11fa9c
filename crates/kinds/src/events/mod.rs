//! events.k8s.io/v1: the newer view of events, which core/v1 stores.

mod event;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(event::Event)]
}

//! policy/v1: how much may be disturbed at once.

mod pod_disruption_budget;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(pod_disruption_budget::PodDisruptionBudget)]
}

//! autoscaling/v2 and v1: how many pods a load needs. v1 is a smaller view of what v2 stores.

mod horizontal_pod_autoscaler;
mod metrics;
mod v1;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(horizontal_pod_autoscaler::HorizontalPodAutoscaler), Arc::new(v1::HorizontalPodAutoscaler)]
}

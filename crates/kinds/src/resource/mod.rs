//! resource.k8s.io/v1: devices, who offers them and who has them.

mod allocation;
mod claims;
mod device;
mod device_class;
mod requests;
mod resource_slice;
mod selectors;
mod shared;
#[cfg(test)]
mod tests;

use crate::Kind;
use std::sync::Arc;

const GROUP: &str = "resource.k8s.io";

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(device_class::DeviceClass),
        Arc::new(claims::ResourceClaim),
        Arc::new(claims::ResourceClaimTemplate),
        Arc::new(resource_slice::ResourceSlice),
    ]
}

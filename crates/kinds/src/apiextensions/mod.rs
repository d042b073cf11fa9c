//! apiextensions.k8s.io/v1: kinds of one's own.

mod custom_resource_definition;
mod expression_check;
pub mod expressions;
mod structural;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(custom_resource_definition::CustomResourceDefinition)]
}

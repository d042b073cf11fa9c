//! apiextensions.k8s.io/v1: kinds of one's own.

pub mod correlate;
mod custom_resource_definition;
mod defaults;
mod expression_check;
pub mod expressions;
mod selectable;
mod structural;
pub mod validations;
pub mod values;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(custom_resource_definition::CustomResourceDefinition)]
}

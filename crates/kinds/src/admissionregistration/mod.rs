//! admissionregistration.k8s.io/v1: whom to ask before a write, and rules of one's own.

mod bindings;
pub mod client_config;
pub mod expressions;
mod policies;
mod resource_rules;
mod webhooks;

use crate::Kind;
use std::sync::Arc;

const GROUP: &str = "admissionregistration.k8s.io";
const CATEGORIES: &[&str] = &["api-extensions"];

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(policies::MutatingAdmissionPolicy),
        Arc::new(bindings::MutatingAdmissionPolicyBinding),
        Arc::new(webhooks::MutatingWebhookConfiguration),
        Arc::new(policies::ValidatingAdmissionPolicy),
        Arc::new(bindings::ValidatingAdmissionPolicyBinding),
        Arc::new(webhooks::ValidatingWebhookConfiguration),
    ]
}

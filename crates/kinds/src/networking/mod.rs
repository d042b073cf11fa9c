//! networking.k8s.io/v1: ways in, and who may talk to whom.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

use crate::Kind;
use crate::rules;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "networking.k8s.io";

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(ingress_class::IngressClass),
        Arc::new(ingress::Ingress),
        Arc::new(ip_address::IPAddress),
        Arc::new(network_policy::NetworkPolicy),
        Arc::new(service_cidr::ServiceCIDR),
    ]
}

/// Each named field of a reference must be there and fit into a path.
fn segments(reference: &Value, names: &[&str], at: &FieldPath, errors: &mut FieldErrors) {
    for name in names {
        match value::text(reference, &[name]) {
            "" => errors.required(&at.child(name), ""),
            text => rules::messages(validate::path_segment(text, false), text, &at.child(name), errors),
        }
    }
}

fn api_group(reference: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(group) = reference.get(name).and_then(Value::as_str) {
        rules::messages(validate::dns_subdomain(group, false), group, &at.child(name), errors);
    }
}

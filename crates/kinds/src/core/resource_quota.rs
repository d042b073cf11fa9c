//! How much a namespace may use.

use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, Quantity, validate, value};
use serde_json::Value;

pub struct ResourceQuota;

const SCOPES: [&str; 7] =
    ["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating", "VolumeAttributesClass"];

impl Kind for ResourceQuota {
    built_in!(
        "io.k8s.api.core.v1.ResourceQuota",
        Names::new("", "v1", "ResourceQuota", "resourcequotas", Scope::Namespaced).short(&["quota"])
    );

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (name, amount) in value::at(object, &["spec", "hard"]).and_then(Value::as_object).into_iter().flatten() {
            let at = path("spec.hard").key(name);
            for message in validate::qualified_name(name) {
                errors.invalid(&at, name.as_str(), &message);
            }
            if Quantity::from_value(amount).is_ok_and(|q| q.signum() < 0) {
                errors.invalid(&at, amount.clone(), "must be greater than or equal to 0");
            }
        }
        for scope in value::items(object, &["spec", "scopes"]).iter().filter_map(Value::as_str) {
            if !SCOPES.contains(&scope) {
                errors.invalid(&path("spec.scopes"), get(get(object, "spec"), "scopes").clone(), "unsupported scope");
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if get(get(new, "spec"), "scopes") != get(get(old, "spec"), "scopes") {
            errors.invalid(&path("spec.scopes"), get(get(new, "spec"), "scopes").clone(), crate::rules::IMMUTABLE);
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Request", "string"), Column::new("Limit", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in value::at(object, &["status", "hard"]).and_then(Value::as_object).into_iter().flatten() {
            let used = value::at(object, &["status", "used", name]).and_then(Value::as_str).unwrap_or("0");
            let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or(""));
            if name.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
        }
        vec![table::name(object), requests.join(", ").into(), limits.join(", ").into(), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

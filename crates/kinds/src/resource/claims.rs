//! Devices that a pod wants, and the form from which each pod gets a claim of its own.

use super::{GROUP, allocation, requests};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct ResourceClaim;
pub struct ResourceClaimTemplate;

impl Kind for ResourceClaim {
    built_in!("io.k8s.api.resource.v1.ResourceClaim", Names::new(GROUP, "v1", "ResourceClaim", "resourceclaims", Scope::Namespaced));

    fn default(&self, object: &mut Value) {
        if let Some(spec) = object.get_mut("spec") {
            requests::default(spec);
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        requests::check(get(object, "spec"), &path("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "spec"), get(old, "spec"), &path("spec"), &mut errors);
        errors
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        allocation::status(new, old)
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("State", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let deleted = value::at(object, &["metadata", "deletionTimestamp"]).is_some();
        let allocated = value::at(object, &["status", "allocation"]).is_some();
        let reserved = allocated && !value::items(object, &["status", "reservedFor"]).is_empty();
        let states = [("deleted", deleted), ("pending", !deleted && !allocated), ("allocated", allocated), ("reserved", reserved)];
        let states: Vec<&str> = states.into_iter().filter(|(_, holds)| *holds).map(|(state, _)| state).collect();
        vec![table::name(object), states.join(",").into(), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

impl Kind for ResourceClaimTemplate {
    built_in!(
        "io.k8s.api.resource.v1.ResourceClaimTemplate",
        Names::new(GROUP, "v1", "ResourceClaimTemplate", "resourceclaimtemplates", Scope::Namespaced)
    );

    fn default(&self, object: &mut Value) {
        if let Some(spec) = value::at_mut(object, &["spec", "spec"]) {
            requests::default(spec);
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let metadata = value::at(object, &["spec", "metadata"]).unwrap_or(&Value::Null);
        let at = path("spec.metadata");
        errors.extend(validate::annotations(get(metadata, "annotations"), &at.child("annotations")));
        errors.extend(validate::labels(get(metadata, "labels"), &at.child("labels")));
        let others = metadata.as_object().into_iter().flatten();
        for (name, _) in others.filter(|(name, found)| !matches!(name.as_str(), "annotations" | "labels") && !found.is_null()) {
            errors.forbidden(&at.child(name), "cannot be set");
        }
        requests::check(value::at(object, &["spec", "spec"]).unwrap_or(&Value::Null), &path("spec.spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "spec"), get(old, "spec"), &path("spec"), &mut errors);
        errors
    }
}

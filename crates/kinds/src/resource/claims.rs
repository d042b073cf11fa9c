//! Devices that a pod wants, and the form from which each pod gets a claim of its own.

use super::{GROUP, requests};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;

pub struct ResourceClaim;
pub struct ResourceClaimTemplate;

const RESERVED_MAX: usize = 256;

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
        let mut errors = FieldErrors::new();
        let (status, before, at) = (get(new, "status"), get(old, "status"), path("status"));
        let reserved = value::items(status, &["reservedFor"]);
        if reserved.len() > RESERVED_MAX {
            errors.too_many(&at.child("reservedFor"), reserved.len(), RESERVED_MAX);
        }
        for (i, consumer) in reserved.iter().enumerate() {
            let at = at.child("reservedFor").index(i);
            for name in ["resource", "name", "uid"] {
                if value::text(consumer, &[name]).is_empty() {
                    errors.required(&at.child(name), "");
                }
            }
            if reserved[..i].iter().any(|c| get(c, "uid") == get(consumer, "uid")) {
                errors.duplicate(&at, get(consumer, "uid").clone());
            }
        }
        let (now, was) = (status.get("allocation"), before.get("allocation"));
        match (now, was) {
            (None, _) if !reserved.is_empty() => {
                errors.forbidden(&at.child("reservedFor"), "may not be specified when `allocated` is not set")
            }
            (Some(now), Some(was)) if now != was => errors.invalid(&at.child("allocation"), now.clone(), rules::IMMUTABLE),
            _ => {}
        }
        let deleted = value::at(new, &["metadata", "deletionTimestamp"]).is_some();
        if deleted && now.is_some() && was.is_none() {
            errors.forbidden(&at.child("allocation"), "new allocation may not be added while `deletionTimestamp` is set");
        }
        errors
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
        requests::check(value::at(object, &["spec", "spec"]).unwrap_or(&Value::Null), &path("spec.spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "spec"), get(old, "spec"), &path("spec"), &mut errors);
        errors
    }
}

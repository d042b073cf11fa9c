//! A claim that its holder renews.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;

pub struct Lease;

impl Kind for Lease {
    built_in!("io.k8s.api.coordination.v1.Lease", Names::new("coordination.k8s.io", "v1", "Lease", "leases", Scope::Namespaced));

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        if let Some(seconds) = value::int(spec, &["leaseDurationSeconds"]).filter(|s| *s <= 0) {
            errors.invalid(&at.child("leaseDurationSeconds"), seconds, "must be greater than 0");
        }
        rules::not_negative(spec, &["leaseTransitions"], &at, &mut errors);
        let strategy = value::text(spec, &["strategy"]);
        if spec.get("strategy").is_some() && strategy != "OldestEmulationVersion" {
            // A strategy of one's own is told from a mistake by its domain.
            if strategy.contains('/') {
                rules::domain_prefixed_path(strategy, &at.child("strategy"), &mut errors);
            } else {
                errors.not_supported(&at.child("strategy"), strategy, &["OldestEmulationVersion"]);
            }
        }
        if !value::text(spec, &["preferredHolder"]).is_empty() && strategy.is_empty() {
            errors.forbidden(&at.child("preferredHolder"), "may only be specified if `strategy` is defined");
        }
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Holder", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["spec", "holderIdentity"]), table::age(object, now).into()]
    }
}

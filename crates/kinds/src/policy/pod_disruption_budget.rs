//! How many of a set of pods may be away at a time.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct PodDisruptionBudget;

impl Kind for PodDisruptionBudget {
    built_in!(
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        Names::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", Scope::Namespaced).short(&["pdb"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
            errors.invalid(&at, spec.clone(), "minAvailable and maxUnavailable cannot be both set");
        }
        for name in ["minAvailable", "maxUnavailable"] {
            rules::positive_int_or_percent(get(spec, name), &at.child(name), &mut errors);
            rules::not_more_than_100_percent(get(spec, name), &at.child(name), &mut errors);
        }
        errors.extend(validate::label_selector(get(spec, "selector"), &at.child("selector")));
        let policy = value::text(spec, &["unhealthyPodEvictionPolicy"]);
        if spec.get("unhealthyPodEvictionPolicy").is_some() && !matches!(policy, "AlwaysAllow" | "IfHealthyBudget") {
            errors.not_supported(&at.child("unhealthyPodEvictionPolicy"), policy, &["AlwaysAllow", "IfHealthyBudget"]);
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (status, at) = (get(new, "status"), path("status"));
        rules::conditions(value::items(status, &["conditions"]), &at.child("conditions"), &mut errors);
        rules::not_negative(status, &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"], &at, &mut errors);
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Min Available", "string"),
            Column::new("Max Unavailable", "string"),
            Column::new("Allowed Disruptions", "integer"),
            Column::age(),
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let limit = |name: &str| value::at(object, &["spec", name]).map_or("N/A".into(), rules::int_or_string);
        vec![
            table::name(object),
            limit("minAvailable").into(),
            limit("maxUnavailable").into(),
            table::int(object, &["status", "disruptionsAllowed"]),
            table::age(object, now).into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

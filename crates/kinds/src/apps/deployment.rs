//! A declared state of pods, reached by way of replica sets.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

pub struct Deployment;

impl Kind for Deployment {
    built_in!(
        "io.k8s.api.apps.v1.Deployment",
        Names::new("apps", "v1", "Deployment", "deployments", Scope::Namespaced).short(&["deploy"]).categories(&["all"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    /// Annotations count, since the controller copies them to replica sets.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        let annotations = |o| value::at(o, &["metadata", "annotations"]).cloned().unwrap_or_default();
        new.get("spec") != old.get("spec") || !rules::same(&annotations(new), &annotations(old))
    }

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "replicas"], 1);
        value::default(object, &["spec", "strategy", "type"], "RollingUpdate");
        if value::text(object, &["spec", "strategy", "type"]) == "RollingUpdate" {
            value::default(object, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%");
            value::default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
        }
        value::default(object, &["spec", "revisionHistoryLimit"], 10);
        value::default(object, &["spec", "progressDeadlineSeconds"], 600);
        workload::default_template(object, &["spec", "template"]);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        rules::not_negative(spec, &["replicas"], &at, &mut errors);
        workload::selector(spec, &at, true, "empty selector is invalid for deployment", &mut errors);
        if workload::selector_matches(spec, &at, Some("invalid label selector"), &mut errors) {
            let template = at.child("template");
            errors.extend(workload::validate_template(get(spec, "template"), &template));
            workload::always_running(get(spec, "template"), &template, "ReplicaSet", &mut errors);
        }
        strategy(get(spec, "strategy"), &at.child("strategy"), &mut errors);
        rules::not_negative(spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], &at, &mut errors);
        if let Some(deadline) = value::int(spec, &["progressDeadlineSeconds"])
            && deadline <= value::int(spec, &["minReadySeconds"]).unwrap_or(0)
        {
            errors.invalid(&at.child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable_fields(get(new, "spec"), get(old, "spec"), &["selector"], &path("spec"), &mut errors);
        errors
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (status, at) = (get(new, "status"), path("status"));
        let counters = [
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ];
        rules::not_negative(status, &counters, &at, &mut errors);
        for name in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
            rules::not_greater(status, name, "replicas", &at, "cannot be greater than status.replicas", &mut errors);
        }
        rules::not_greater(status, "availableReplicas", "readyReplicas", &at, "cannot be greater than readyReplicas", &mut errors);
        rules::not_decremented(status, get(old, "status"), "collisionCount", &at, &mut errors);
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(object, old, &["spec", "template"], true)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::name(),
            Column::new("Ready", "string"),
            Column::new("Up-to-date", "string"),
            Column::new("Available", "string"),
            Column::age(),
        ];
        columns.extend(workload::wide_columns());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let number = |o, name| value::int(o, &[name]).unwrap_or(0);
        let mut cells = vec![
            table::name(object),
            format!("{}/{}", number(status, "readyReplicas"), number(spec, "replicas")).into(),
            table::int(status, &["updatedReplicas"]),
            table::int(status, &["availableReplicas"]),
            table::age(object, now).into(),
        ];
        cells.extend(workload::wide_cells(spec));
        cells
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![workload::scale(), Subresource::Status]
    }
}

fn strategy(strategy: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let rolling = strategy.get("rollingUpdate");
    let rolling_at = at.child("rollingUpdate");
    match (value::text(strategy, &["type"]), rolling) {
        ("Recreate", Some(_)) => errors.forbidden(&rolling_at, "may not be specified when strategy `type` is 'Recreate'"),
        ("Recreate", None) => {}
        ("RollingUpdate", None) => errors.required(&rolling_at, "this should be defaulted and never be nil"),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (get(rolling, "maxUnavailable"), get(rolling, "maxSurge"));
            let unavailable_at = rolling_at.child("maxUnavailable");
            rules::positive_int_or_percent(unavailable, &unavailable_at, errors);
            rules::positive_int_or_percent(surge, &rolling_at.child("maxSurge"), errors);
            if rules::int_or_percent(unavailable) == 0 && rules::int_or_percent(surge) == 0 {
                errors.invalid(&unavailable_at, unavailable.clone(), "may not be 0 when `maxSurge` is 0");
            }
            rules::not_more_than_100_percent(unavailable, &unavailable_at, errors);
        }
        _ => errors.not_supported(at, strategy.clone(), &["Recreate", "RollingUpdate"]),
    }
}

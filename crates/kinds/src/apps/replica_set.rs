//! A number of equal pods.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct ReplicaSet;

impl Kind for ReplicaSet {
    built_in!(
        "io.k8s.api.apps.v1.ReplicaSet",
        Names::new("apps", "v1", "ReplicaSet", "replicasets", Scope::Namespaced).short(&["rs"]).categories(&["all"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "replicas"], 1);
        workload::default_template(object, &["spec", "template"]);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        rules::not_negative(spec, &["replicas", "minReadySeconds"], &at, &mut errors);
        workload::selector(spec, &at, true, "empty selector is invalid for deployment", &mut errors);
        if workload::selector_matches(spec, &at, Some("invalid label selector"), &mut errors) {
            let template = at.child("template");
            errors.extend(workload::validate_template(get(spec, "template"), &template));
            workload::always_running(get(spec, "template"), &template, "ReplicaSet", &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable_fields(get(new, "spec"), get(old, "spec"), &["selector"], &path("spec"), &mut errors);
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (status, at) = (get(new, "status"), path("status"));
        let counters =
            ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration", "terminatingReplicas"];
        rules::not_negative(status, &counters, &at, &mut errors);
        for name in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
            rules::not_greater(status, name, "replicas", &at, "cannot be greater than status.replicas", &mut errors);
        }
        rules::not_greater(status, "availableReplicas", "readyReplicas", &at, "cannot be greater than readyReplicas", &mut errors);
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(object, old, &["spec", "template"], true)
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["status.replicas".into()]
    }

    fn selectable(&self, object: &Value, _field: &str) -> String {
        value::int(object, &["status", "replicas"]).unwrap_or(0).to_string()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::name(),
            Column::new("Desired", "integer"),
            Column::new("Current", "integer"),
            Column::new("Ready", "integer"),
            Column::age(),
        ];
        columns.extend(workload::wide_columns());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![
            table::name(object),
            table::int(object, &["spec", "replicas"]),
            table::int(object, &["status", "replicas"]),
            table::int(object, &["status", "readyReplicas"]),
            table::age(object, now).into(),
        ];
        cells.extend(workload::wide_cells(get(object, "spec")));
        cells
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![workload::scale(), Subresource::Status]
    }
}

//! A number of equal pods, the way before ReplicaSets.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::{Map, Value};
use std::borrow::Cow;

pub struct ReplicationController;

impl Kind for ReplicationController {
    built_in!(
        "io.k8s.api.core.v1.ReplicationController",
        Names::new("", "v1", "ReplicationController", "replicationcontrollers", Scope::Namespaced).short(&["rc"]).categories(&["all"])
    );

    fn storage_prefix(&self) -> String {
        "controllers".into()
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Labels and selector come from the template where they are not said.
    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "replicas"], 1);
        workload::default_template(object, &["spec", "template"]);
        let labels = value::at(object, &["spec", "template", "metadata", "labels"])
            .filter(|l| l.as_object().is_some_and(|m| !m.is_empty()))
            .cloned();
        if let Some(labels) = labels {
            let empty = |v: Option<&Value>| v.and_then(Value::as_object).is_none_or(Map::is_empty);
            if empty(value::at(object, &["spec", "selector"])) {
                value::set(object, &["spec", "selector"], labels.clone());
            }
            if empty(value::at(object, &["metadata", "labels"])) {
                value::set(object, &["metadata", "labels"], labels);
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        rules::not_negative(spec, &["replicas", "minReadySeconds"], &at, &mut errors);
        let selector = get(spec, "selector");
        if selector.as_object().is_none_or(Map::is_empty) {
            errors.required(&at.child("selector"), "");
        }
        if get(spec, "template").is_null() {
            errors.required(&at.child("template"), "");
            return errors;
        }
        let template = at.child("template");
        let labels = value::at(spec, &["template", "metadata", "labels"]).unwrap_or(&Value::Null);
        if !meta::labels::Selector::from_map(selector).matches_labels(labels) {
            let text = "`selector` does not match template `labels`";
            errors.invalid(&template.child("metadata").child("labels"), labels.clone(), text);
        }
        errors.extend(workload::validate_template(get(spec, "template"), &template));
        workload::always_running(get(spec, "template"), &template, "ReplicationController", &mut errors);
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["status.replicas".into()]
    }

    fn selectable(&self, object: &Value, field: &str) -> String {
        value::int(object, &field.split('.').collect::<Vec<_>>()).unwrap_or(0).to_string()
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (status, at) = (get(new, "status"), path("status"));
        let counts = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
        rules::not_negative(status, &counts, &at, &mut errors);
        for name in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
            rules::not_greater(status, name, "replicas", &at, "cannot be greater than status.replicas", &mut errors);
        }
        rules::not_greater(status, "availableReplicas", "readyReplicas", &at, "cannot be greater than readyReplicas", &mut errors);
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(object, old, &["spec", "template"], true)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Desired", "Current", "Ready"].map(|n| Column::new(n, "integer")));
        columns.push(Column::age());
        columns.extend(workload::wide_columns());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (containers, images) = table::containers(value::at(object, &["spec", "template", "spec"]).unwrap_or(&Value::Null));
        vec![
            table::name(object),
            table::int(object, &["spec", "replicas"]),
            table::int(object, &["status", "replicas"]),
            table::int(object, &["status", "readyReplicas"]),
            table::age(object, now).into(),
            containers.into(),
            images.into(),
            table::labels(value::at(object, &["spec", "selector"]).unwrap_or(&Value::Null)).into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![workload::scale(), Subresource::Status]
    }
}

//! One pod on each node that fits.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

pub struct DaemonSet;

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl Kind for DaemonSet {
    built_in!(
        "io.k8s.api.apps.v1.DaemonSet",
        Names::new("apps", "v1", "DaemonSet", "daemonsets", Scope::Namespaced).short(&["ds"]).categories(&["all"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
        if value::text(object, &["spec", "updateStrategy", "type"]) == "RollingUpdate" {
            value::default(object, &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1);
            value::default(object, &["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0);
        }
        value::default(object, &["spec", "revisionHistoryLimit"], 10);
        workload::default_template(object, &["spec", "template"]);
    }

    fn prepare_create(&self, object: &mut Value) {
        value::remove(object, &["status"]);
        value::set(object, &["metadata", "annotations", TEMPLATE_GENERATION], "1");
    }

    /// Counts the changes of the template in an annotation, where the field of an older version now lives.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["status"]);
        let template = |o| value::at(o, &["spec", "template"]);
        let before: i64 = value::text(old, &["metadata", "annotations", TEMPLATE_GENERATION]).parse().unwrap_or(0);
        let now = if template(new) == template(old) { before } else { before + 1 };
        value::set(new, &["metadata", "annotations", TEMPLATE_GENERATION], now.to_string());
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let template = at.child("template");
        workload::selector_matches(spec, &at, None, &mut errors);
        workload::selector(spec, &at, false, "empty selector is invalid for daemonset", &mut errors);
        errors.extend(workload::validate_template(get(spec, "template"), &template));
        workload::always_running(get(spec, "template"), &template, "DaemonSet", &mut errors);
        rules::not_negative(spec, &["minReadySeconds"], &at, &mut errors);
        update_strategy(get(spec, "updateStrategy"), &at.child("updateStrategy"), &mut errors);
        rules::not_negative(spec, &["revisionHistoryLimit"], &at, &mut errors);
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
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        rules::not_negative(status, &counters, &at, &mut errors);
        rules::not_decremented(status, get(old, "status"), "collisionCount", &at, &mut errors);
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(object, old, &["spec", "template"], false)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Desired", "Current", "Ready", "Up-to-date", "Available"].map(|name| Column::new(name, "integer")));
        columns.extend([Column::new("Node Selector", "string"), Column::age()]);
        columns.extend(workload::wide_columns());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let mut cells = vec![table::name(object)];
        for name in ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"] {
            cells.push(table::int(status, &[name]));
        }
        let node_selector = value::at(spec, &["template", "spec", "nodeSelector"]).unwrap_or(&Value::Null);
        cells.extend([table::labels(node_selector).into(), table::age(object, now).into()]);
        cells.extend(workload::wide_cells(spec));
        cells
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

fn update_strategy(strategy: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let rolling_at = at.child("rollingUpdate");
    match (value::text(strategy, &["type"]), strategy.get("rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(&rolling_at, ""),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (get(rolling, "maxUnavailable"), get(rolling, "maxSurge"));
            let (unavailable_at, surge_at) = (rolling_at.child("maxUnavailable"), rolling_at.child("maxSurge"));
            for (found, at) in [(unavailable, &unavailable_at), (surge, &surge_at)] {
                rules::positive_int_or_percent(found, at, errors);
            }
            for (found, at) in [(unavailable, &unavailable_at), (surge, &surge_at)] {
                rules::not_more_than_100_percent(found, at, errors);
            }
            match (rules::int_or_percent(unavailable) != 0, rules::int_or_percent(surge) != 0) {
                (true, true) => errors.invalid(&surge_at, surge.clone(), "may not be set when maxUnavailable is non-zero"),
                (false, false) => errors.required(&unavailable_at, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        (other, _) => errors.not_supported(at, other, &["OnDelete", "RollingUpdate"]),
    }
}

//! Scales what has a scale by what is measured.

use super::metrics;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::{Value, json};

pub struct HorizontalPodAutoscaler;

const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;

impl Kind for HorizontalPodAutoscaler {
    built_in!(
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        Names::new("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", Scope::Namespaced)
            .short(&["hpa"])
            .categories(&["all"])
    );

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "minReplicas"], 1);
        if value::items(object, &["spec", "metrics"]).is_empty() {
            let cpu =
                json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
            value::set(object, &["spec", "metrics"], cpu);
        }
        if value::at(object, &["spec", "behavior"]).is_some() {
            let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
            let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
            value::default(object, &["spec", "behavior", "scaleUp", "stabilizationWindowSeconds"], 0);
            for (direction, policies) in [("scaleUp", json!([pods, percent])), ("scaleDown", json!([percent]))] {
                value::default(object, &["spec", "behavior", direction, "selectPolicy"], "Max");
                value::default(object, &["spec", "behavior", direction, "policies"], policies);
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let (min, max) = (value::int(spec, &["minReplicas"]), value::int(spec, &["maxReplicas"]).unwrap_or(0));
        if let Some(min) = min.filter(|min| *min < 1) {
            errors.invalid(&at.child("minReplicas"), min, "must be greater than or equal to 1");
        }
        match max {
            0 => errors.required(&at.child("maxReplicas"), "must be set and greater than 0"),
            ..0 => errors.invalid(&at.child("maxReplicas"), max, "must be greater than or equal to 1"),
            _ => {}
        }
        if min.is_some_and(|min| max < min) {
            errors.invalid(&at.child("maxReplicas"), max, "must be greater than or equal to `minReplicas`");
        }
        reference(get(spec, "scaleTargetRef"), &at.child("scaleTargetRef"), &mut errors);
        for (i, metric) in value::items(spec, &["metrics"]).iter().enumerate() {
            metrics::validate(metric, &at.child("metrics").index(i), &mut errors);
        }
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = value::at(spec, &["behavior", direction]) {
                scaling_rules(rules, &at.child("behavior").child(direction), &mut errors);
            }
        }
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        target_version(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let kind = |of: &Value| ["apiVersion", "kind"].map(|name| value::text(of, &["spec", "scaleTargetRef", name]).to_string());
        if kind(new) == kind(old) { FieldErrors::new() } else { target_version(new) }
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::not_negative(get(new, "status"), &["currentReplicas", "desiredReplicas"], &path("status"), &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

pub fn columns() -> Vec<Column> {
    let mut columns = vec![Column::name()];
    columns.extend(["Reference", "Targets", "MinPods", "MaxPods", "Replicas"].map(|name| Column::new(name, "string")));
    columns.push(Column::age());
    columns
}

/// Of the v2 form, whichever was asked for.
pub fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = get(object, "spec");
    let target = get(spec, "scaleTargetRef");
    vec![
        table::name(object),
        format!("{}/{}", value::text(target, &["kind"]), value::text(target, &["name"])).into(),
        metrics::summary(value::items(spec, &["metrics"]), value::items(object, &["status", "currentMetrics"])).into(),
        value::int(spec, &["minReplicas"]).map_or("<unset>".into(), |n| n.to_string()).into(),
        table::int(spec, &["maxReplicas"]),
        table::int(object, &["status", "currentReplicas"]),
        table::age(object, now).into(),
    ]
}

pub fn reference(reference: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for name in ["kind", "name"] {
        match value::text(reference, &[name]) {
            "" => errors.required(&at.child(name), ""),
            text => rules::messages(validate::path_segment(text, false), text, &at.child(name), errors),
        }
    }
}

/// `group/version`, or a version alone.
pub fn version(reference: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let version = value::text(reference, &["apiVersion"]);
    if version.matches('/').count() > 1 {
        errors.invalid(&at.child("apiVersion"), version, &format!("unexpected GroupVersion string: {version}"));
    }
}

/// Nothing of the core group has a scale, but for one. Checked of what is new.
fn target_version(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (target, at) = (get(get(object, "spec"), "scaleTargetRef"), path("spec.scaleTargetRef"));
    version(target, &at, &mut errors);
    let found = value::text(target, &["apiVersion"]);
    if errors.is_empty() && !found.contains('/') && value::text(target, &["kind"]) != "ReplicationController" {
        errors.invalid(&at.child("apiVersion"), found, "apiVersion must specify API group");
    }
    errors
}

fn scaling_rules(rules: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(window) = value::int(rules, &["stabilizationWindowSeconds"]) {
        let at = at.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.invalid(&at, window, "must be greater than or equal to zero");
        }
        if window > WINDOW_MAX {
            errors.invalid(&at, window, &format!("must be less than or equal to {WINDOW_MAX}"));
        }
    }
    let select = value::text(rules, &["selectPolicy"]);
    if rules.get("selectPolicy").is_some() && !matches!(select, "Disabled" | "Max" | "Min") {
        errors.not_supported(&at.child("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    }
    let (policies, policies_at) = (value::items(rules, &["policies"]), at.child("policies"));
    if policies.is_empty() {
        errors.required(&policies_at, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let at = policies_at.index(i);
        let ty = value::text(policy, &["type"]);
        if !matches!(ty, "Percent" | "Pods") {
            errors.not_supported(&at.child("type"), ty, &["Percent", "Pods"]);
        }
        for name in ["value", "periodSeconds"] {
            let found = value::int(policy, &[name]).unwrap_or(0);
            if found <= 0 {
                errors.invalid(&at.child(name), found, "must be greater than zero");
            }
            if name == "periodSeconds" && found > PERIOD_MAX {
                errors.invalid(&at.child(name), found, &format!("must be less than or equal to {PERIOD_MAX}"));
            }
        }
    }
    let tolerance = get(rules, "tolerance");
    if Quantity::from_value(tolerance).is_ok_and(|q| q.signum() < 0) {
        errors.invalid(&at.child("tolerance"), tolerance.clone(), crate::rules::NOT_NEGATIVE);
    }
}

//! The first version, which knows processor load only. What it has no fields for travels in annotations.

use super::horizontal_pod_autoscaler::{self as v2, columns, row};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, StoredAs, Subresource};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::{Value, json};

pub struct HorizontalPodAutoscaler;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// Annotations with the v2 fields that they stand for.
const CARRIED: [(&str, &[&str]); 3] =
    [(CURRENT_METRICS, &["status", "currentMetrics"]), (CONDITIONS, &["status", "conditions"]), (BEHAVIOR, &["spec", "behavior"])];

impl Kind for HorizontalPodAutoscaler {
    built_in!(
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
        Names::new("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", Scope::Namespaced)
            .short(&["hpa"])
            .categories(&["all"])
    );

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "minReplicas"], 1);
    }

    /// By the rules of what it stands for.
    fn validate(&self, object: &Value) -> FieldErrors {
        v2::HorizontalPodAutoscaler.validate(&stored(object))
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        v2::HorizontalPodAutoscaler.validate_create(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        v2::HorizontalPodAutoscaler.validate_update(new, old)
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
        row(&stored(object), now)
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }

    fn stored_as(&self) -> Option<StoredAs> {
        Some(StoredAs { group: "autoscaling", version: "v2", to_stored, from_stored })
    }
}

fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    to_stored(&mut object);
    v2::HorizontalPodAutoscaler.default(&mut object);
    object
}

fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let text = value::remove(object, &["metadata", "annotations", name])?;
    if value::at(object, &["metadata", "annotations"]).and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        value::remove(object, &["metadata", "annotations"]);
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn to_stored(object: &mut Value) {
    value::set(object, &["apiVersion"], "autoscaling/v2");
    let mut metrics = Vec::new();
    if let Some(Value::Array(others)) = take_annotation(object, METRICS) {
        metrics = others;
    }
    if let Some(target) = value::remove(object, &["spec", "targetCPUUtilizationPercentage"]) {
        metrics.push(
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}),
        );
    }
    if metrics.is_empty() {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}));
    }
    value::set(object, &["spec", "metrics"], metrics);
    let current = value::remove(object, &["status", "currentCPUUtilizationPercentage"]);
    for (annotation, path) in CARRIED {
        if let Some(found) = take_annotation(object, annotation) {
            value::set(object, path, found);
        }
    }
    if let (Some(current), None) = (current, value::at(object, &["status", "currentMetrics"])) {
        let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}]);
        value::set(object, &["status", "currentMetrics"], cpu);
    }
}

fn from_stored(object: &mut Value) {
    value::set(object, &["apiVersion"], "autoscaling/v1");
    let is_cpu =
        |m: &Value| value::text(m, &["resource", "name"]) == "cpu" && value::at(m, &["resource", "target", "averageUtilization"]).is_some();
    let metrics = value::remove(object, &["spec", "metrics"]).and_then(|m| m.as_array().cloned()).unwrap_or_default();
    let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu);
    if let Some(target) = cpu.first().and_then(|m| value::at(m, &["resource", "target", "averageUtilization"])) {
        value::set(object, &["spec", "targetCPUUtilizationPercentage"], target.clone());
    }
    if !others.is_empty() {
        value::set(object, &["metadata", "annotations", METRICS], Value::Array(others).to_string());
    }
    let current = value::items(object, &["status", "currentMetrics"])
        .iter()
        .find_map(|m| {
            value::at(m, &["resource", "current", "averageUtilization"]).filter(|_| value::text(m, &["resource", "name"]) == "cpu")
        })
        .cloned();
    for (annotation, path) in CARRIED {
        if let Some(found) = value::remove(object, path) {
            value::set(object, &["metadata", "annotations", annotation], found.to_string());
        }
    }
    if let Some(current) = current {
        value::set(object, &["status", "currentCPUUtilizationPercentage"], current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_through_the_first_version() {
        let mut object = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"selectPolicy": "Max"}}, "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
            "status": {"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]},
        });
        let before = object.clone();
        from_stored(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 7);
        to_stored(&mut object);
        assert_eq!(object, before);
    }
}

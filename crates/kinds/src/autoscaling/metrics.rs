//! What an autoscaler measures: its checks, and its short form in tables.

use super::horizontal_pod_autoscaler::{reference, version};
use crate::core::resource_names;
use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::Value;

/// Metric types with the field that each fills.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const SHOWN_MAX: usize = 2;

fn field_of(ty: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(name, _)| *name == ty).map(|(_, field)| *field)
}

pub fn validate(metric: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let ty = value::text(metric, &["type"]);
    if ty.is_empty() {
        errors.required(&at.child("type"), "must specify a metric source type");
    }
    let expected = field_of(ty);
    if expected.is_none() {
        errors.not_supported(&at.child("type"), ty, &SOURCES.map(|(name, _)| name));
    }
    let present: Vec<&str> = SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.get(field).is_some()).collect();
    if let Some(first) = present.first() {
        source(first, get(metric, first), &at.child(first), errors);
    }
    if let Some(expected) = expected.filter(|field| metric.get(field).is_none()) {
        errors.required(&at.child(expected), "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| Some(*field) != expected) {
            errors.forbidden(&at.child(field), "must populate the given metric source only");
        }
    }
}

fn source(field: &str, source: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let target = get(source, "target");
    let target_at = at.child("target");
    let has = |name: &str| target.get(name).is_some();
    match field {
        "object" => {
            reference(get(source, "describedObject"), &at.child("describedObject"), errors);
            version(get(source, "describedObject"), &at.child("describedObject"), errors);
        }
        "containerResource" => match value::text(source, &["container"]) {
            "" => errors.required(&at.child("container"), "must specify a container"),
            name => rules::messages(validate::dns_label(name, false), name, &at.child("container"), errors),
        },
        _ => {}
    }
    if matches!(field, "resource" | "containerResource") {
        match value::text(source, &["name"]) {
            "" => errors.required(&at.child("name"), "must specify a resource name"),
            name if field == "containerResource" => resource_names::container(name, &at.child("name"), errors),
            _ => {}
        }
    } else {
        match value::text(source, &["metric", "name"]) {
            "" => errors.required(&at.child("metric").child("name"), "must specify a metric name"),
            name => rules::messages(validate::path_segment(name, false), name, &at.child("metric").child("name"), errors),
        }
    }
    validate_target(target, &target_at, errors);
    match field {
        "pods" if !has("averageValue") => errors.required(&target_at.child("averageValue"), "must specify a positive target averageValue"),
        "object" if !has("value") && !has("averageValue") => {
            errors.required(&target_at.child("averageValue"), "must set either a target value or averageValue");
        }
        "external" if !has("value") && !has("averageValue") => {
            errors.required(&target_at.child("averageValue"), "must set either a target value for metric or a per-pod target");
        }
        "external" if has("value") && has("averageValue") => {
            errors.forbidden(&target_at.child("value"), "may not set both a target value for metric and a per-pod target");
        }
        "resource" | "containerResource" => match (has("averageUtilization"), has("averageValue")) {
            (false, false) => {
                errors.required(&target_at.child("averageUtilization"), "must set either a target raw value or a target utilization");
            }
            (true, true) => {
                errors.forbidden(&target_at.child("averageValue"), "may not set both a target raw value and a target utilization");
            }
            _ => {}
        },
        _ => {}
    }
}

fn validate_target(target: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let ty = value::text(target, &["type"]);
    if ty.is_empty() {
        errors.required(&at.child("type"), "must specify a metric target type");
    }
    if !matches!(ty, "Utilization" | "Value" | "AverageValue") {
        errors.invalid(&at.child("type"), ty, "must be either Utilization, Value, or AverageValue");
    }
    for name in ["value", "averageValue"] {
        if let Some(found) = target.get(name)
            && Quantity::from_value(found).is_ok_and(|q| q.signum() < 1)
        {
            errors.invalid(&at.child(name), found.clone(), "must be positive");
        }
    }
    if let Some(found) = value::int(target, &["averageUtilization"]).filter(|n| *n < 1) {
        errors.invalid(&at.child("averageUtilization"), found, "must be greater than 0");
    }
}

/// `cpu: 10%/80%, 5/10`: what is, and what should be.
pub fn summary(specs: &[Value], statuses: &[Value]) -> String {
    if specs.is_empty() {
        return "<none>".into();
    }
    let shown: Vec<String> = specs.iter().enumerate().map(|(i, spec)| one(spec, statuses.get(i).unwrap_or(&Value::Null))).collect();
    match shown.len() {
        n if n > SHOWN_MAX => format!("{} + {} more...", shown[..SHOWN_MAX].join(", "), n - SHOWN_MAX),
        _ => shown.join(", "),
    }
}

fn one(spec: &Value, status: &Value) -> String {
    let ty = value::text(spec, &["type"]);
    let Some(field) = field_of(ty) else { return "<unknown type>".into() };
    let target = value::at(spec, &[field, "target"]).unwrap_or(&Value::Null);
    let current = |name: &str| value::at(status, &[field, "current", name]).map(rules::int_or_string);
    let known = |text: Option<String>| text.unwrap_or_else(|| "<unknown>".into());
    let wanted = |name: &str| rules::int_or_string(get(target, name));
    let average = target.get("averageValue").is_some();
    match field {
        "resource" | "containerResource" => {
            let name = value::text(spec, &[field, "name"]);
            if average {
                return format!("{name}: {}/{}", known(current("averageValue")), wanted("averageValue"));
            }
            let target = value::int(target, &["averageUtilization"]).map_or("<auto>".into(), |n| format!("{n}%"));
            format!("{name}: {}/{target}", known(current("averageUtilization").map(|n| format!("{n}%"))))
        }
        "pods" => format!("{}/{}", known(current("averageValue")), wanted("averageValue")),
        _ if average => format!("{}/{} (avg)", known(current("averageValue")), wanted("averageValue")),
        _ => format!("{}/{}", known(current("value")), wanted("value")),
    }
}

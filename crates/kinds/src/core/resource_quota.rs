//! How much a namespace may use.

use super::resource_names;
use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;
use std::collections::BTreeSet;

pub struct ResourceQuota;

const SCOPES: [&str; 7] =
    ["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating", "VolumeAttributesClass"];

fn amounts(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (name, amount) in found.as_object().into_iter().flatten() {
        resource_names::quota(name, &at.key(name), errors);
        resource_names::amount(name, amount, &at.key(name), errors);
    }
}

/// The limits that a scope cannot tell apart.
fn unfit<'a>(scope: &'a str, spec: &'a Value) -> impl Iterator<Item = &'a String> {
    let fits = move |name: &str| {
        let basic = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"].contains(&name);
        match scope {
            "BestEffort" => name == "pods",
            "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => name == "pods" || basic,
            "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
            _ => true,
        }
    };
    let names = get(spec, "hard").as_object().into_iter().flatten().map(|(name, _)| name);
    names.filter(move |name| resource_names::is_standard_quota(name) && !fits(name))
}

fn conflicts(scopes: &[&str], spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&a) && scopes.contains(&b) {
            errors.invalid(at, get(spec, "scopes").clone(), "conflicting scopes");
        }
    }
}

fn requirement(found: &Value, spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (scope, operator) = (value::text(found, &["scopeName"]), value::text(found, &["operator"]));
    let values = value::items(found, &["values"]);
    if !SCOPES.contains(&scope) {
        errors.invalid(&at.child("scopeName"), scope, "unsupported scope");
    }
    for _ in unfit(scope, spec) {
        errors.invalid(at, get(spec, "scopeSelector").clone(), "unsupported scope applied to resource");
    }
    if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && SCOPES.contains(&scope) && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&at.child("operator"), operator, why);
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&at.child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&at.child("values"), values.to_vec(), why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
}

impl Kind for ResourceQuota {
    built_in!(
        "io.k8s.api.core.v1.ResourceQuota",
        Names::new("", "v1", "ResourceQuota", "resourcequotas", Scope::Namespaced).short(&["quota"])
    );

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        amounts(get(spec, "hard"), &at.child("hard"), &mut errors);
        let scopes: Vec<&str> = value::items(spec, &["scopes"]).iter().filter_map(Value::as_str).collect();
        let here = at.child("scopes");
        for scope in &scopes {
            if !SCOPES.contains(scope) {
                errors.invalid(&here, scopes.clone(), "unsupported scope");
            }
            for _ in unfit(scope, spec) {
                errors.invalid(&here, scopes.clone(), "unsupported scope applied to resource");
            }
        }
        conflicts(&scopes, spec, &here, &mut errors);
        let expressions = value::items(spec, &["scopeSelector", "matchExpressions"]);
        let here = at.child("scopeSelector").child("matchExpressions");
        expressions.iter().for_each(|expression| requirement(expression, spec, &here, &mut errors));
        let scopes: Vec<&str> = expressions.iter().map(|e| value::text(e, &["scopeName"])).collect();
        conflicts(&scopes, spec, &here, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let set = |of: &Value| -> BTreeSet<String> {
            value::items(of, &["spec", "scopes"]).iter().filter_map(Value::as_str).map(str::to_string).collect()
        };
        if set(new) != set(old) {
            errors.invalid(&path("spec.scopes"), get(get(new, "spec"), "scopes").clone(), crate::rules::IMMUTABLE);
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for kind in ["hard", "used"] {
            amounts(get(get(new, "status"), kind), &path("status").child(kind), &mut errors);
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Request", "string"), Column::new("Limit", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in value::at(object, &["status", "hard"]).and_then(Value::as_object).into_iter().flatten() {
            let used = value::at(object, &["status", "used", name]).and_then(Value::as_str).unwrap_or("0");
            let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or(""));
            if name.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
        }
        vec![table::name(object), requests.join(", ").into(), limits.join(", ").into(), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

//! What one pod, container or claim of a namespace may ask for, and what it asks for unsaid.

use super::resource_names;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::Value;
use std::collections::BTreeSet;

pub struct LimitRange;

fn amount(item: &Value, kind: &str, name: &str) -> Option<Quantity> {
    value::at(item, &[kind, name]).and_then(|q| Quantity::from_value(q).ok())
}

fn type_name(ty: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let wrong = validate::qualified_name(ty);
    if wrong.is_empty() && !ty.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&ty) {
        errors.invalid(at, ty, "must be a standard limit type or fully qualified");
    }
    rules::messages(wrong, ty, at, errors);
}

fn item(item: &Value, ty: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let mut names = BTreeSet::new();
    for kind in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let amounts = get(item, kind).as_object();
        if ty == "Pod" && kind.starts_with("default") {
            if amounts.is_some_and(|a| !a.is_empty()) {
                errors.forbidden(&at.child(kind), "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for name in amounts.into_iter().flatten().map(|(name, _)| name) {
            resource_names::limit_range(ty, name, &at.child(kind).key(name), errors);
            names.insert(name.as_str());
        }
    }
    if ty == "PersistentVolumeClaim" && amount(item, "min", "storage").is_none() && amount(item, "max", "storage").is_none() {
        errors.required(&at.child("limits"), "either minimum or maximum storage value is required, but neither was provided");
    }
    for name in names {
        let of = |kind: &str| if ty == "Pod" && kind.starts_with("default") { None } else { amount(item, kind, name) };
        // The lesser, the greater, which of both is shown, where, and what is said of them.
        for (low, high, shows_low, place, words) in [
            ("min", "max", true, "min", ("min value", "max value")),
            ("min", "defaultRequest", false, "defaultRequest", ("min value", "default request value")),
            ("defaultRequest", "max", true, "defaultRequest", ("default request value", "max value")),
            ("defaultRequest", "default", true, "defaultRequest", ("default request value", "default limit value")),
            ("min", "default", true, "default", ("min value", "default value")),
            ("default", "max", false, "default", ("default value", "max value")),
        ] {
            let (Some(less), Some(more)) = (of(low), of(high)) else { continue };
            if less > more {
                let shown = if shows_low { less } else { more };
                let why = format!("{} {less} is greater than {} {more}", words.0, words.1);
                errors.invalid(&at.child(place).key(name), shown.to_string(), &why);
            }
        }
        ratio(item, name, &at.child("maxLimitRequestRatio").key(name), errors);
        if let (Some(limit), Some(request)) = (of("default"), of("defaultRequest"))
            && !resource_names::may_overcommit(name)
            && limit != request
        {
            let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
            errors.invalid(&at.child("defaultRequest").key(name), request.to_string(), &why);
        }
    }
}

fn ratio(item: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let Some(ratio) = amount(item, "maxLimitRequestRatio", name) else { return };
    if ratio < Quantity::new(1) {
        errors.invalid(at, ratio.to_string(), &format!("ratio {ratio} is less than 1"));
    }
    if let (Some(min), Some(max)) = (amount(item, "min", name), amount(item, "max", name)) {
        let most = max.to_f64() / min.to_f64();
        if ratio.to_f64() > most {
            errors.invalid(at, ratio.to_string(), &format!("ratio {ratio} is greater than max/min = {most:.6}"));
        }
    }
}

impl Kind for LimitRange {
    built_in!("io.k8s.api.core.v1.LimitRange", Names::new("", "v1", "LimitRange", "limitranges", Scope::Namespaced).short(&["limits"]));

    fn default(&self, object: &mut Value) {
        for item in value::items_mut(object, &["spec", "limits"]) {
            if value::text(item, &["type"]) != "Container" {
                continue;
            }
            // A default limit follows the maximum, a default request the limit or the minimum.
            for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
                for (name, found) in get(item, from).as_object().cloned().into_iter().flatten() {
                    value::default(item, &[to, &name], found);
                }
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let items = value::items(object, &["spec", "limits"]);
        for (i, item) in items.iter().enumerate() {
            let (at, ty) = (path("spec.limits").index(i), value::text(item, &["type"]));
            type_name(ty, &at.child("type"), &mut errors);
            if items[..i].iter().any(|other| value::text(other, &["type"]) == ty) {
                errors.duplicate(&at.child("type"), ty);
            }
            self::item(item, ty, &at, &mut errors);
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Created At", "date")]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["metadata", "creationTimestamp"])]
    }
}

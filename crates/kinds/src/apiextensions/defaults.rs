//! Whether the defaults of a schema are right by the schema itself.

use super::validations::Rules;
use super::values;
use crate::rules::get;
use cel::Budget;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// Only of a schema that is structural.
pub fn check(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (name, inner) in get(schema, "properties").as_object().into_iter().flatten() {
        let at = at.child("properties").key(name);
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            forbid(inner, &format!("in top-level {name}"), &at, errors);
        } else {
            node(inner, &at, errors);
        }
    }
}

fn forbid(schema: &Value, why: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if schema.get("default").is_some() {
        errors.forbidden(&at.child("default"), &format!("must not be set {why}"));
    }
    for (name, inner) in get(schema, "properties").as_object().into_iter().flatten() {
        forbid(inner, why, &at.child("properties").key(name), errors);
    }
}

fn node(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        let at = at.child("default");
        let mut pruned = default.clone();
        prune(schema, &mut pruned);
        if pruned != *default {
            errors.invalid(&at, default.clone(), "must not have unknown fields");
        } else {
            errors.extend(values::validate_at(schema, default, &at));
        }
    }
    for (name, inner) in get(schema, "properties").as_object().into_iter().flatten() {
        node(inner, &at.child("properties").key(name), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let inner @ Value::Object(_) = get(schema, name) {
            node(inner, &at.child(name), errors);
        }
    }
}

/// Whether the defaults are right by the rules of the schema, which can be used.
pub fn check_rules(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    rules(schema, at, &mut Budget::new(), errors);
}

fn rules(schema: &Value, at: &FieldPath, budget: &mut Budget, errors: &mut FieldErrors) {
    if let Some(default) = schema.get("default").filter(|default| !default.is_null())
        && let Some(own) = Rules::of_part(schema)
    {
        errors.extend(own.check_default(default, &at.child("default"), budget));
    }
    for (name, inner) in get(schema, "properties").as_object().into_iter().flatten() {
        rules(inner, &at.child("properties").key(name), budget, errors);
    }
    if let inner @ Value::Object(_) = get(schema, "items") {
        rules(inner, &at.child("items"), budget, errors);
    }
}

/// Drops what the schema does not know.
fn prune(schema: &Value, found: &mut Value) {
    match found {
        Value::Object(map) => {
            let properties = get(schema, "properties").as_object();
            let additional = get(schema, "additionalProperties");
            let open = value::flag(schema, &["x-kubernetes-preserve-unknown-fields"]) || *additional == Value::Bool(true);
            let whole = value::flag(schema, &[EMBEDDED]);
            let known = |name: &str| {
                properties.is_some_and(|p| p.contains_key(name))
                    || additional.is_object()
                    || (whole && matches!(name, "apiVersion" | "kind" | "metadata"))
            };
            map.retain(|name, _| open || known(name));
            for (name, inner) in map {
                match properties.and_then(|p| p.get(name)) {
                    Some(schema) => prune(schema, inner),
                    None if additional.is_object() => prune(additional, inner),
                    None => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(get(schema, "items"), item)),
        _ => {}
    }
}

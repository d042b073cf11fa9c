//! Structural schemas: whatever a custom resource may hold has a type, so that it can be pruned, merged and defaulted.

use super::{defaults, expression_check};
use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const LIST_TYPE: &str = "x-kubernetes-list-type";
const LIST_KEYS: &str = "x-kubernetes-list-map-keys";

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Field,
    Item,
}

pub fn check(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let before = errors.0.len();
    node(schema, Place::Root, at, errors);
    // What is said of rules over a schema that is wrong helps nobody.
    if errors.0.len() == before {
        defaults::check(schema, at, errors);
    }
    if errors.0.len() == before {
        expression_check::check(schema, at, errors);
    }
    if errors.0.len() == before {
        defaults::check_rules(schema, at, errors);
    }
}

fn node(schema: &Value, place: Place, at: &FieldPath, errors: &mut FieldErrors) {
    let ty = value::text(schema, &["type"]);
    let (int_or_string, preserve) = (value::flag(schema, &[INT_OR_STRING]), value::flag(schema, &[PRESERVE]));
    if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.not_supported(&at.child("type"), ty, &TYPES);
    }
    match (place, ty) {
        (Place::Root, "") => errors.required(&at.child("type"), "must not be empty at the root"),
        (Place::Root, "object") => {}
        (Place::Root, other) => errors.invalid(&at.child("type"), other, "must be object at the root"),
        (_, "") if int_or_string || preserve => {}
        (Place::Field, "") => errors.required(&at.child("type"), "must not be empty for specified object fields"),
        (Place::Item, "") => errors.required(&at.child("type"), "must not be empty for specified array items"),
        _ => {}
    }
    if int_or_string && !ty.is_empty() {
        errors.invalid(&at.child("type"), ty, &format!("must be empty if {INT_OR_STRING} is true"));
    }
    if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
        errors.invalid(&at.child(PRESERVE), false, "must be true or undefined");
    }
    if preserve && !matches!(ty, "" | "object") {
        errors.invalid(&at.child("type"), ty, &format!("must be object if {PRESERVE} is true"));
    }
    if place == Place::Root && value::flag(schema, &["nullable"]) {
        errors.forbidden(&at.child("nullable"), "nullable cannot be true at the root");
    }
    if int_or_string && preserve {
        errors.invalid(&at.child(PRESERVE), true, &format!("must be false if {INT_OR_STRING} is true"));
    }
    embedded(schema, place, ty, at, errors);
    let pattern = value::text(schema, &["pattern"]);
    if let Err(why) = cel::regex::compile(pattern) {
        errors.invalid(&at.child("pattern"), pattern, &format!("must be a valid regular expression, but isn't: {why}"));
    }
    forbidden(schema, at, errors);
    list(schema, ty, at, errors);
    for (name, inner) in get(schema, "properties").as_object().into_iter().flatten() {
        node(inner, Place::Field, &at.child("properties").key(name), errors);
    }
    match get(schema, "items") {
        Value::Null if ty == "array" => errors.required(&at.child("items"), "must be specified"),
        Value::Array(_) => errors.forbidden(&at.child("items"), "items must be a schema object and not an array"),
        inner @ Value::Object(_) => node(inner, Place::Item, &at.child("items"), errors),
        _ => {}
    }
    if let inner @ Value::Object(_) = get(schema, "additionalProperties") {
        node(inner, Place::Field, &at.child("additionalProperties"), errors);
    }
    logic(schema, at, errors);
}

/// What holds an object of its own: the root, and what says so.
fn embedded(schema: &Value, place: Place, ty: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let embedded = value::flag(schema, &[EMBEDDED]);
    let properties = get(schema, "properties").as_object();
    if embedded && ty != "object" {
        match ty {
            "" => errors.required(&at.child("type"), &format!("must be object if {EMBEDDED} is true")),
            other => errors.invalid(&at.child("type"), other, &format!("must be object if {EMBEDDED} is true")),
        }
    }
    if embedded && value::flag(schema, &[INT_OR_STRING]) {
        errors.invalid(&at.child(EMBEDDED), true, &format!("must be false if {INT_OR_STRING} is true"));
    }
    if schema.get("additionalProperties").is_some() {
        match place {
            Place::Root => errors.forbidden(&at.child("additionalProperties"), "must not be used at the root"),
            _ if embedded => errors.forbidden(&at.child("additionalProperties"), &format!("must not be used if {EMBEDDED} is set")),
            _ => {}
        }
    }
    if embedded && !value::flag(schema, &[PRESERVE]) && properties.is_none_or(serde_json::Map::is_empty) {
        errors.required(&at.child("properties"), &format!("must not be empty if {EMBEDDED} is true without {PRESERVE}"));
    }
    if !embedded && place != Place::Root {
        return;
    }
    for (name, wanted) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        let Some(found) = properties.and_then(|p| p.get(name)) else { continue };
        let at = at.child("properties").key(name);
        if value::text(found, &["type"]) != wanted {
            errors.invalid(&at.child("type"), value::text(found, &["type"]), &format!("must be {wanted}"));
        }
        let more = |key: &String| !matches!(key.as_str(), "type" | "properties" | "default" | "description" | "title");
        let others = get(found, "properties").as_object().is_some_and(|p| p.keys().any(|k| k != "name" && k != "generateName"));
        if name == "metadata" && place == Place::Root && (others || found.as_object().is_some_and(|f| f.keys().any(more))) {
            errors.forbidden(&at, "must not specify anything other than name and generateName, but metadata is implicitly specified");
        }
    }
}

fn forbidden(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if value::flag(schema, &["uniqueItems"]) {
        errors.forbidden(&at.child("uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    }
    for name in ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "$schema", "id"] {
        if schema.get(name).is_some() {
            errors.forbidden(&at.child(name), &format!("{name} is not supported"));
        }
    }
    match get(schema, "additionalProperties") {
        Value::Null => {}
        Value::Bool(false) => errors.forbidden(&at.child("additionalProperties"), "additionalProperties cannot be set to false"),
        _ if get(schema, "properties").as_object().is_some_and(|p| !p.is_empty()) => {
            errors.forbidden(&at.child("additionalProperties"), "additionalProperties and properties are mutual exclusive");
        }
        _ => {}
    }
}

fn list(schema: &Value, ty: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let (list_type, keys) = (get(schema, LIST_TYPE).as_str(), value::items(schema, &[LIST_KEYS]));
    if let Some(found) = list_type {
        if ty != "array" {
            errors.invalid(&at.child("type"), ty, &format!("must be array if {LIST_TYPE} is set"));
        }
        if !matches!(found, "atomic" | "set" | "map") {
            errors.not_supported(&at.child(LIST_TYPE), found, &["atomic", "map", "set"]);
        }
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            errors.required(&at.child(LIST_KEYS), &format!("must not be empty if {LIST_TYPE} is map"));
        }
        if value::text(schema, &["items", "type"]) != "object" && schema.get("items").is_some() {
            let found = value::text(schema, &["items", "type"]);
            errors.invalid(&at.child("items").child("type"), found, &format!("must be object if parent array's {LIST_TYPE} is map"));
        }
        for (i, key) in keys.iter().enumerate() {
            let name = key.as_str().unwrap_or_default();
            if value::at(schema, &["items", "properties", name]).is_none() {
                errors.invalid(&at.child(LIST_KEYS).index(i), name, "entries must all be names of item properties");
            }
            if keys[..i].contains(key) {
                errors.duplicate(&at.child(LIST_KEYS).index(i), name);
            }
            key_property(schema, name, at, errors);
        }
    } else if !keys.is_empty() {
        errors.invalid(&at.child(LIST_TYPE), list_type.unwrap_or_default(), &format!("must be map if {LIST_KEYS} is non-empty"));
    }
    let items = get(schema, "items");
    if let Some(found @ ("set" | "map")) = list_type
        && value::flag(items, &["nullable"])
    {
        errors.forbidden(&at.child("items").child("nullable"), &format!("cannot be nullable when {LIST_TYPE} is {found}"));
    }
    if list_type == Some("set") {
        let detail = format!("must be atomic as item of a list with {LIST_TYPE}=set");
        let (inner, map) = (get(items, LIST_TYPE), get(items, "x-kubernetes-map-type"));
        match value::text(items, &["type"]) {
            "array" if !matches!(inner.as_str(), None | Some("atomic")) => {
                errors.invalid(&at.child("items").child(LIST_TYPE), inner.clone(), &detail);
            }
            "object" if map.as_str() != Some("atomic") => {
                errors.invalid(&at.child("items").child("x-kubernetes-map-type"), map.clone(), &detail);
            }
            _ => {}
        }
    }
    let map_type = get(schema, "x-kubernetes-map-type").as_str();
    if map_type.is_some() && ty != "object" {
        let detail = "must be object if x-kubernetes-map-type is specified";
        match ty {
            "" => errors.required(&at.child("type"), detail),
            other => errors.invalid(&at.child("type"), other, detail),
        }
    }
    if let Some(found) = map_type.filter(|t| !matches!(*t, "granular" | "atomic")) {
        errors.not_supported(&at.child("x-kubernetes-map-type"), found, &["atomic", "granular"]);
    }
}

/// A property that tells items apart is always there.
fn key_property(schema: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let Some(property) = value::at(schema, &["items", "properties", name]) else { return };
    let at = at.child("items").child("properties").key(name);
    if let ty @ ("array" | "object") = value::text(property, &["type"]) {
        errors.invalid(&at.child("type"), ty, &format!("must be a scalar type if parent array's {LIST_TYPE} is map"));
    }
    let required = value::items(schema, &["items", "required"]).iter().any(|r| r == name);
    if !required && property.get("default").is_none() {
        let detail = format!("this property is in {LIST_KEYS}, so it must have a default or be a required property");
        errors.required(&at.child("default"), &detail);
    }
    if value::flag(property, &["nullable"]) {
        errors.forbidden(&at.child("nullable"), &format!("this property is in {LIST_KEYS}, so it cannot be nullable"));
    }
}

/// Inside of a choice only values are constrained: what is there is said outside.
fn logic(schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut inner: Vec<(FieldPath, &Value)> = Vec::new();
    for name in ["allOf", "anyOf", "oneOf"] {
        inner.extend(value::items(schema, &[name]).iter().enumerate().map(|(i, s)| (at.child(name).index(i), s)));
    }
    if let Some(not) = schema.get("not") {
        inner.push((at.child("not"), not));
    }
    for (at, schema) in inner {
        let int_or_string = matches!(value::text(schema, &["type"]), "integer" | "string");
        for name in [
            "type",
            "default",
            "title",
            "description",
            "nullable",
            "additionalProperties",
            PRESERVE,
            INT_OR_STRING,
            "x-kubernetes-validations",
        ] {
            let empty = rules::same(get(schema, name), &Value::Null);
            if !(empty || name == "type" && int_or_string) {
                errors.forbidden(&at.child(name), "must be empty to be structural");
            }
        }
        logic(schema, &at, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(schema: Value) -> String {
        let mut errors = FieldErrors::new();
        check(&schema, &FieldPath::new("s"), &mut errors);
        if errors.is_empty() { String::new() } else { errors.to_string() }
    }

    #[test]
    fn defaults_obey_the_rules_of_their_schema() {
        let of = |default: i64, rule: &str| {
            let rules = json!([{"rule": rule, "message": "no"}]);
            let spec = json!({"type": "object", "default": {"a": default}, "properties": {"a": {"type": "integer"}},
                "x-kubernetes-validations": rules});
            errors(json!({"type": "object", "properties": {"spec": spec}}))
        };
        assert_eq!(of(3, "self.a > 2"), "");
        assert_eq!(of(1, "self.a > 2"), "s.properties[spec].default: Invalid value: no");
        // One that was not there before has to be right as well.
        assert_eq!(of(1, "self.a == oldSelf.a"), "");
        let optional = json!([{"rule": "oldSelf.hasValue()", "optionalOldSelf": true, "message": "no"}]);
        let spec = json!({"type": "integer", "default": 1, "x-kubernetes-validations": optional});
        let told = errors(json!({"type": "object", "properties": {"spec": spec}}));
        assert_eq!(told, "s.properties[spec].default: Invalid value: 1: no");
    }

    #[test]
    fn what_has_no_type_is_refused() {
        assert_eq!(errors(json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}})), "");
        assert_eq!(errors(json!({})), "s.type: Required value: must not be empty at the root");
        assert_eq!(
            errors(json!({"type": "object", "properties": {"spec": {}}})),
            "s.properties[spec].type: Required value: must not be empty for specified object fields"
        );
        assert_eq!(
            errors(
                json!({"type": "object", "properties": {"p": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}})
            ),
            ""
        );
    }
}

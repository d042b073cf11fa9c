//! Values against an OpenAPI v3 schema, in upstream's words.

use super::correlate::{OldItems, old_field};
use meta::value;
use meta::{FieldErrors, FieldPath};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What of the old object is still there as it was is not looked at again: it may have been right by an older schema.
pub fn validate(schema: &Value, object: &Value, old: Option<&Value>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    check(schema, object, old, &FieldPath::root(), &mut errors);
    errors
}

/// What is not within an object, but at a place of its own.
pub fn validate_at(schema: &Value, value: &Value, at: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    check(schema, value, None, at, &mut errors);
    errors
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn fits(ty: &str, value: &Value) -> bool {
    match (ty, value) {
        ("", _) => true,
        ("integer", Value::Number(n)) => n.is_i64() || n.is_u64() || n.as_f64().is_some_and(|f| f.fract() == 0.0),
        ("number", Value::Number(_)) => true,
        _ => type_name(value) == ty,
    }
}

fn check(schema: &Value, value: &Value, old: Option<&Value>, path: &FieldPath, errors: &mut FieldErrors) {
    if old == Some(value) {
        return;
    }
    let ty = value::text(schema, &["type"]);
    let at = path.as_str();
    if value.is_null() && (value::flag(schema, &["nullable"]) || ty.is_empty()) {
        return;
    }
    if value::flag(schema, &["x-kubernetes-int-or-string"]) {
        if !fits("integer", value) && !value.is_string() {
            errors.type_invalid(path, type_name(value), &format!("{at} in body must be of type integer,string: \"{}\"", type_name(value)));
            return;
        }
    } else if !fits(ty, value) {
        errors.type_invalid(path, type_name(value), &format!("{at} in body must be of type {ty}: \"{}\"", type_name(value)));
        return;
    }
    let allowed = value::items(schema, &["enum"]);
    if !allowed.is_empty() && !allowed.contains(value) {
        let shown: Vec<String> = allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into)).collect();
        errors.not_supported(path, value.clone(), &shown.iter().map(String::as_str).collect::<Vec<_>>());
    }
    match value {
        Value::String(text) => string(schema, text, path, errors),
        Value::Number(_) => number(schema, value, path, errors),
        Value::Array(items) => list(schema, items, old, path, errors),
        Value::Object(map) => object(schema, map, old, path, errors),
        _ => {}
    }
    choices(schema, value, path, errors);
}

fn passes(schema: &Value, value: &Value, path: &FieldPath) -> bool {
    let mut errors = FieldErrors::new();
    check(schema, value, None, path, &mut errors);
    errors.is_empty()
}

fn choices(schema: &Value, value: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let at = Value::from(path.as_str()).to_string();
    let passing = |key: &str| value::items(schema, &[key]).iter().filter(|s| passes(s, value, path)).count();
    let has = |key: &str| !value::items(schema, &[key]).is_empty();
    for part in value::items(schema, &["allOf"]) {
        check(part, value, None, path, errors);
    }
    if has("anyOf") && passing("anyOf") == 0 {
        errors.invalid(path, value.clone(), &format!("{at} must validate at least one schema (anyOf)"));
    }
    if has("oneOf") {
        let found = passing("oneOf");
        if found != 1 {
            let found = if found == 0 { "Found none valid".to_string() } else { format!("Found {found} valid alternatives") };
            errors.invalid(path, value.clone(), &format!("{at} must validate one and only one schema (oneOf). {found}"));
        }
    }
    if let Some(not) = schema.get("not").filter(|n| n.is_object())
        && passes(not, value, path)
    {
        errors.invalid(path, value.clone(), &format!("{at} must not validate the schema (not)"));
    }
}

fn limit(schema: &Value, key: &str) -> Option<usize> {
    schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn string(schema: &Value, text: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.as_str();
    let length = text.chars().count();
    if let Some(max) = limit(schema, "maxLength")
        && length > max
    {
        errors.too_long(path, max);
    }
    if let Some(min) = limit(schema, "minLength")
        && length < min
    {
        errors.invalid(path, text, &format!("{at} in body should be at least {min} chars long"));
    }
    let pattern = value::text(schema, &["pattern"]);
    // A pattern that cannot be read was told of when the definition came in.
    if !pattern.is_empty() && cel::regex::compile(pattern).is_ok_and(|regex| !regex.is_match(text)) {
        errors.invalid(path, text, &format!("{at} in body should match '{pattern}'"));
    }
    let format = value::text(schema, &["format"]);
    if !is_format(format, text) {
        errors.invalid(path, text, &format!("{at} in body must be of type {format}: {}", Value::from(text)));
    }
}

/// Formats that are not known hold anything.
fn is_format(format: &str, text: &str) -> bool {
    let date = |t: &str| meta::time::parse(&format!("{t}T00:00:00Z")).is_ok();
    let hex = |t: &str| t.bytes().all(|b| b.is_ascii_hexdigit());
    match format {
        "date-time" | "datetime" => meta::time::parse(text).is_ok(),
        "date" => date(text),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => {
            let parts: Vec<&str> = text.split('-').collect();
            parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|p| hex(p))
        }
        "mac" => text.split([':', '-']).count() == 6 && text.split([':', '-']).all(|p| p.len() == 2 && hex(p)),
        "byte" => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
        "uri" => cel::is_url(text),
        "hostname" => meta::validate::dns_subdomain(&text.to_lowercase(), false).is_empty(),
        _ => true,
    }
}

fn number(schema: &Value, value: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.as_str();
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64).zip(schema.get(key));
    let Some(found) = value.as_f64() else { return };
    if let Some((max, shown)) = bound("maximum") {
        let open = value::flag(schema, &["exclusiveMaximum"]);
        if found > max || (open && found == max) {
            let words = if open { "less than" } else { "less than or equal to" };
            errors.invalid(path, value.clone(), &format!("{at} in body should be {words} {shown}"));
        }
    }
    if let Some((min, shown)) = bound("minimum") {
        let open = value::flag(schema, &["exclusiveMinimum"]);
        if found < min || (open && found == min) {
            let words = if open { "greater than" } else { "greater than or equal to" };
            errors.invalid(path, value.clone(), &format!("{at} in body should be {words} {shown}"));
        }
    }
    if let Some((of, shown)) = bound("multipleOf").filter(|(of, _)| *of != 0.0)
        && (found / of).fract() != 0.0
    {
        errors.invalid(path, value.clone(), &format!("{at} in body should be a multiple of {shown}"));
    }
    let range = match value::text(schema, &["format"]) {
        "int32" => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => return,
    };
    if !value.as_i64().is_some_and(|n| range.contains(&n)) {
        errors.invalid(path, value.clone(), &format!("{at} in body must be of type int32: {value}"));
    }
}

fn list(schema: &Value, items: &[Value], old: Option<&Value>, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.as_str();
    if let Some(max) = limit(schema, "maxItems")
        && items.len() > max
    {
        errors.too_many(path, items.len(), max);
    }
    if let Some(min) = limit(schema, "minItems")
        && items.len() < min
    {
        errors.invalid(path, items.len() as u64, &format!("{at} in body should have at least {min} items"));
    }
    if value::flag(schema, &["uniqueItems"]) && !repeated(items.iter()).is_empty() {
        errors.invalid(path, Value::Array(items.to_vec()), &format!("{at} in body shouldn't contain duplicates"));
    }
    match value::text(schema, &["x-kubernetes-list-type"]) {
        "set" => {
            for i in repeated(items.iter()) {
                errors.duplicate(&path.index(i), items[i].clone());
            }
        }
        "map" => {
            let keys: Vec<&str> = value::items(schema, &["x-kubernetes-list-map-keys"]).iter().filter_map(Value::as_str).collect();
            let key = |item: &Value| -> Value {
                let map: Map<String, Value> = keys.iter().filter_map(|k| Some(((*k).to_string(), item.get(*k)?.clone()))).collect();
                Value::Object(map)
            };
            let all: Vec<Value> = items.iter().map(key).collect();
            for i in repeated(all.iter()) {
                errors.duplicate(&path.index(i), all[i].clone());
            }
        }
        _ => {}
    }
    let schema_of_list = schema;
    if let Some(schema) = schema.get("items") {
        let known = OldItems::new(schema_of_list, old);
        let set = value::text(schema_of_list, &["x-kubernetes-list-type"]) == "set";
        let before = old.and_then(Value::as_array).filter(|_| set);
        for (i, item) in items.iter().enumerate() {
            let same = || before.and_then(|before| before.iter().find(|other| *other == item));
            check(schema, item, known.get(item).or_else(same), &path.index(i), errors);
        }
    }
}

/// The places of those that were there before.
fn repeated<'v>(items: impl Iterator<Item = &'v Value>) -> Vec<usize> {
    let mut seen = HashSet::new();
    items.enumerate().filter(|(_, item)| !seen.insert(item.to_string())).map(|(i, _)| i).collect()
}

fn object(schema: &Value, map: &Map<String, Value>, old: Option<&Value>, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.as_str();
    if let Some(max) = limit(schema, "maxProperties")
        && map.len() > max
    {
        errors.too_many(path, map.len(), max);
    }
    if let Some(min) = limit(schema, "minProperties")
        && map.len() < min
    {
        errors.invalid(path, map.len() as u64, &format!("{at} in body should have at least {min} properties"));
    }
    for name in value::items(schema, &["required"]).iter().filter_map(Value::as_str).filter(|n| !map.contains_key(*n)) {
        errors.required(&path.child(name), "");
    }
    if value::flag(schema, &["x-kubernetes-embedded-resource"]) {
        for name in ["apiVersion", "kind"] {
            if map.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                errors.required(&path.child(name), "must not be empty");
            }
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties").filter(|a| a.is_object());
    for (name, value) in map {
        match (properties.and_then(|p| p.get(name)), additional) {
            (Some(inner), _) | (None, Some(inner)) => check(inner, value, old_field(schema, old, name), &path.child(name), errors),
            _ => {}
        }
    }
}

//! Defaults from a structural schema, and the nulls that stand for nothing.

use meta::value;
use serde_json::Value;

pub fn apply(schema: &Value, object: &mut Value) {
    match object {
        Value::Object(map) => {
            for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = schema.get("default") {
                    let null = map.get(name).is_some_and(Value::is_null) && !value::flag(schema, &["nullable"]);
                    if null || !map.contains_key(name) {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(inner) = map.get_mut(name) {
                    apply(schema, inner);
                }
            }
            if let Some(additional @ Value::Object(_)) = schema.get("additionalProperties") {
                map.values_mut().for_each(|inner| apply(additional, inner));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| apply(schema, item));
            }
        }
        _ => {}
    }
}

/// A null is no value, unless the schema says that it is one, or has a default in its place.
pub fn prune_nulls(schema: &Value, object: &mut Value) {
    match object {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties").filter(|inner| inner.is_object());
            let of = |name: &str| properties.and_then(|all| all.get(name)).or(additional);
            map.retain(|name, inner| {
                let Some(schema) = of(name) else { return true };
                let nothing = inner.is_null() && !value::flag(schema, &["nullable"]) && schema.get("default").is_none();
                if !nothing {
                    prune_nulls(schema, inner);
                }
                !nothing
            });
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| prune_nulls(schema, item));
            }
        }
        _ => {}
    }
}

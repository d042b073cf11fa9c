//! What is published of a custom resource: its structural schema, and what every object of the API has besides.
//! The older document says less, because of clients that take whatever it does not name to be wrong.

use kinds::Kind;
use serde_json::{Map, Value, json};

const META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    V2,
    V3,
}

/// `structural`: as its definition has it.
pub fn definition(kind: &dyn Kind, structural: &Value, form: Form) -> Value {
    let mut schema = match structural {
        // Not even the metadata is named: clients would know these fields, and no others.
        Value::Object(map) if form == Form::V2 && is(map, OPEN) => Map::from_iter([("type".to_string(), json!("object"))]),
        Value::Object(map) => {
            let mut map = map.clone();
            match form {
                Form::V2 => older(&mut map),
                Form::V3 => unfold(&mut map),
            }
            embedded(&mut map, form);
            whole(&mut map);
            map
        }
        _ => Map::new(),
    };
    let names = kind.names();
    schema.insert("x-kubernetes-group-version-kind".into(), gvk(kind, &names.kind));
    mark_selectable(kind, &mut schema);
    schema.into()
}

pub fn gvk(kind: &dyn Kind, name: &str) -> Value {
    let names = kind.names();
    json!([{"group": names.group, "version": names.version, "kind": name}])
}

/// Field selectors that its objects can be listed by.
pub fn mark_selectable(kind: &dyn Kind, schema: &mut Map<String, Value>) {
    let fields: Vec<Value> = kind.selectable_fields().iter().map(|path| json!({"fieldPath": path})).collect();
    if !fields.is_empty() {
        schema.insert("x-kubernetes-selectable-fields".into(), fields.into());
    }
}

fn is(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

/// What is below this schema: items, properties and additional properties.
fn each_below(map: &mut Map<String, Value>, mut visit: impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(&mut visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(below)) = map.get_mut(key) {
            visit(below);
        }
    }
}

fn older(map: &mut Map<String, Value>) {
    for key in ["allOf", "oneOf", "anyOf", "not"] {
        map.remove(key);
    }
    // There are no nulls: what may be one may be anything.
    if map.remove("nullable") == Some(Value::Bool(true)) {
        map.remove("type");
    }
    let open = is(map, OPEN);
    if open || !map.contains_key("type") {
        map.remove("items");
        map.remove("properties");
    }
    // A list has to say of what.
    let unclear = match map.get("type").and_then(Value::as_str) {
        Some("array") => !map.contains_key("items"),
        Some("object") => open,
        _ => false,
    };
    if unclear {
        map.remove("type");
    }
    let null = |schema: &Value| schema["nullable"] == true;
    let nulls: Vec<String> =
        map.get("properties").and_then(Value::as_object).into_iter().flatten().filter(|(_, s)| null(s)).map(|(n, _)| n.clone()).collect();
    if map.get("additionalProperties").is_some_and(null) {
        map.remove("required");
    } else if let Some(Value::Array(required)) = map.get_mut("required") {
        required.retain(|name| !nulls.iter().any(|null| name == null));
        if required.is_empty() {
            map.remove("required");
        }
    }
    each_below(map, older);
}

/// Says in words of OpenAPI that something is an integer or a string, where only the extension did.
fn unfold(map: &mut Map<String, Value>) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let first = |map: &Map<String, Value>| map.get("allOf").and_then(|all| all.get(0)?.get("anyOf").cloned());
    if is(map, INT_OR_STRING) && map.get("anyOf") != Some(&either) && first(map).as_ref() != Some(&either) {
        if map.contains_key("anyOf") {
            if let Value::Array(all) = map.entry("allOf").or_insert_with(|| json!([])) {
                all.insert(0, json!({"anyOf": either}));
            }
        } else {
            map.insert("anyOf".into(), either);
        }
    }
    each_below(map, unfold);
}

fn embedded(map: &mut Map<String, Value>, form: Form) {
    each_below(map, |below| embedded(below, form));
    if !is(map, EMBEDDED) || (form == Form::V2 && is(map, OPEN)) {
        return;
    }
    whole(map);
    if let Value::Array(required) = map.entry("required").or_insert_with(|| json!([])) {
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|r| r == name) {
                required.push(name.into());
            }
        }
    }
}

/// Adds what an object of the API always has.
fn whole(map: &mut Map<String, Value>) {
    if let Value::Object(properties) = map.entry("properties").or_insert_with(|| json!({})) {
        let text = |description: &str| json!({"type": "string", "description": description});
        properties
            .insert("apiVersion".into(), text("APIVersion defines the schema that this object is written in: a group and its version."));
        properties.insert("kind".into(), text("Kind says which resource this object is of."));
        properties.insert("metadata".into(), json!({"description": "Standard object's metadata.", "allOf": [{"$ref": META}]}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(schema: Value, form: Form) -> Value {
        let Value::Object(mut map) = schema else { panic!("a schema is a map") };
        match form {
            Form::V2 => older(&mut map),
            Form::V3 => unfold(&mut map),
        }
        embedded(&mut map, form);
        map.into()
    }

    #[test]
    fn the_older_form_leaves_out_what_clients_cannot_cope_with() {
        let schema = json!({"type": "object", "required": ["null", "list"], "properties": {
            "null": {"type": "object", "nullable": true, "properties": {"a": {"type": "string"}}},
            "list": {"type": "array", OPEN: true, "items": {"type": "string"}},
            "map": {"type": "object", "required": ["a"], "additionalProperties": {"type": "string", "nullable": true}},
            "either": {INT_OR_STRING: true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}]},
            "open": {"type": "object", OPEN: true, EMBEDDED: true},
            "choice": {"type": "string", "oneOf": [{"pattern": "a"}], "not": {"maxLength": 3}},
        }});
        let wanted = json!({"type": "object", "required": ["list"], "properties": {
            "null": {}, "list": {OPEN: true}, "map": {"type": "object", "additionalProperties": {}},
            "either": {INT_OR_STRING: true}, "open": {OPEN: true, EMBEDDED: true}, "choice": {"type": "string"},
        }});
        assert_eq!(published(schema.clone(), Form::V2), wanted);
        let mut newer = published(schema.clone(), Form::V3);
        let open = newer["properties"]["open"].take();
        assert_eq!(open["required"], json!(["kind", "apiVersion"]));
        assert_eq!(open["properties"]["metadata"]["allOf"][0]["$ref"], META);
        newer["properties"]["open"] = schema["properties"]["open"].clone();
        assert_eq!(newer, schema);
    }

    #[test]
    fn the_newer_form_says_in_its_own_words_what_is_an_integer_or_a_string() {
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        assert_eq!(published(json!({INT_OR_STRING: true}), Form::V3), json!({INT_OR_STRING: true, "anyOf": either}));
        let choice = json!([{"pattern": "^a"}]);
        let both = json!({INT_OR_STRING: true, "anyOf": choice, "allOf": [{"anyOf": either}]});
        assert_eq!(published(json!({INT_OR_STRING: true, "anyOf": choice}), Form::V3), both);
        assert_eq!(published(both.clone(), Form::V3), both);
    }
}

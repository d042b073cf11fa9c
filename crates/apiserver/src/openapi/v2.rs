//! The one document of OpenAPI v2, which says less but all at once.

use super::custom::Form;
use super::operations::{self, Operation, PARAMETERS};
use super::{definitions, v3};
use kinds::Kind;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub fn document(kinds: &[Arc<dyn Kind>]) -> Value {
    let mut schemas = definitions::all(kinds, Form::V2);
    let operations: Vec<Operation> = {
        let definition_of = |(group, version, kind): &operations::Gvk| v3::definition_of(&schemas, group, version, kind);
        kinds.iter().flat_map(|k| operations::of(k.as_ref(), &definition_of)).collect()
    };
    let mut paths = Map::new();
    for operation in &operations {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({"parameters": shared(operation)}));
        path[operation.method] = describe(operation);
    }
    definitions::keep(&mut schemas, operations.iter().flat_map(|o| o.body.iter().chain(&o.answer).cloned()).collect::<Vec<_>>());
    let definitions: Map<String, Value> = schemas.into_iter().map(|(name, schema)| (name, downgrade(schema))).collect();
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": definitions,
        "security": [{"BearerToken": []}],
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "A bearer token."}},
    })
}

fn pointer(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// A schema in the words of v2: references stand alone, and there is no choice between types.
fn downgrade(schema: Value) -> Value {
    let Value::Object(mut map) = schema else { return schema };
    let target = |map: &Map<String, Value>| map.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()).map(pointer);
    if let Some(reference) = target(&map) {
        return reference;
    }
    if let Some(Value::Array(all)) = map.remove("allOf")
        && let [Value::Object(only)] = &all[..]
        && let Some(reference) = target(only)
        && let Value::Object(reference) = reference
    {
        map.extend(reference);
    }
    let is_choice = map.remove("oneOf").is_some();
    if is_choice && !map.contains_key("type") {
        map.insert("type".into(), "string".into());
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.remove(key) {
            map.insert(key.into(), downgrade(inner));
        }
    }
    if let Some(Value::Object(properties)) = map.remove("properties") {
        let properties: Map<String, Value> = properties.into_iter().map(|(name, schema)| (name, downgrade(schema))).collect();
        map.insert("properties".into(), properties.into());
    }
    Value::Object(map)
}

fn parameter(name: &str, place: &str) -> Value {
    let known = PARAMETERS.iter().find(|(n, ..)| *n == name);
    let (_, ty, description) = known.copied().unwrap_or((name, "string", ""));
    let mut parameter = json!({"name": name, "in": place, "description": description, "type": ty, "uniqueItems": true});
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

fn shared(operation: &Operation) -> Value {
    operation.path_parameters().map(|name| parameter(name, "path")).chain([parameter("pretty", "query")]).collect()
}

fn describe(operation: &Operation) -> Value {
    let schema = |name: &Option<String>| match name {
        Some(name) => pointer(name),
        None => json!({"type": "string"}),
    };
    let mut responses = Map::new();
    for code in operation.codes {
        responses.insert(code.to_string(), json!({"description": "OK", "schema": schema(&operation.answer)}));
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    let mut parameters: Vec<Value> = operation.query.iter().map(|name| parameter(name, "query")).collect();
    if operation.body.is_some() {
        parameters.push(json!({"name": "body", "in": "body", "required": operation.method != "delete", "schema": schema(&operation.body)}));
    }
    let consumes: Value = if operation.is_patch() {
        ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"].into_iter().collect()
    } else {
        ["*/*"].into_iter().collect()
    };
    let (group, version, kind) = &operation.gvk;
    json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "schemes": ["https"],
        "consumes": consumes,
        "produces": ["application/json", "application/yaml"],
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}

//! One document of OpenAPI v3 per group and version.

use super::custom::Form;
use super::definitions;
use super::operations::{self, Operation, PARAMETERS};
use kinds::Kind;
use meta::GroupVersion;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

pub fn document(kinds: &[Arc<dyn Kind>], version: &GroupVersion) -> Value {
    let mut schemas = definitions::all(kinds, Form::V3);
    let operations: Vec<Operation> = {
        let definition_of = |(group, version, kind): &operations::Gvk| definition_of(&schemas, group, version, kind);
        kinds.iter().filter(|k| k.names().group_version() == *version).flat_map(|k| operations::of(k.as_ref(), &definition_of)).collect()
    };
    let custom = kinds.iter().all(|k| k.names().group_version() != *version || k.openapi().is_some());
    let mut paths = Map::new();
    for operation in &operations {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({"parameters": shared(operation)}));
        path[operation.method] = describe(operation, custom);
    }
    definitions::keep(&mut schemas, operations.iter().flat_map(|o| o.body.iter().chain(&o.answer).cloned()).collect::<Vec<_>>());
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "A bearer token."}},
        },
    })
}

/// The definition that says it is of this kind.
pub fn definition_of(schemas: &Map<String, Value>, group: &str, version: &str, kind: &str) -> Option<String> {
    let is = |gvk: &Value| gvk["group"] == group && gvk["version"] == version && gvk["kind"] == kind;
    let has = |schema: &Value| schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|all| all.len() == 1 && is(&all[0]));
    schemas.iter().find(|(_, schema)| has(schema)).map(|(name, _)| name.clone())
}

fn parameter(name: &str, place: &str) -> Value {
    let known = PARAMETERS.iter().find(|(n, ..)| *n == name);
    let (_, ty, description) = known.copied().unwrap_or((name, "string", ""));
    let mut parameter = json!({"name": name, "in": place, "description": description, "schema": {"type": ty, "uniqueItems": true}});
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

/// What all operations on a path share.
fn shared(operation: &Operation) -> Value {
    operation.path_parameters().map(|name| parameter(name, "path")).chain([parameter("pretty", "query")]).collect()
}

fn describe(operation: &Operation, custom: bool) -> Value {
    let schema = |name: &Option<String>| match name {
        Some(name) => json!({"$ref": definitions::pointer(name)}),
        None => json!({"type": "string"}),
    };
    let content = |types: &[&str], schema: &Value| -> Value {
        Value::Object(types.iter().map(|ty| ((*ty).to_string(), json!({"schema": schema}))).collect())
    };
    let answer = schema(&operation.answer);
    let mut responses = Map::new();
    for code in operation.codes {
        let text = match code {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        };
        let types: &[&str] = match (&operation.answer, operation.action) {
            (None, _) => &["*/*"],
            (_, "list") => &["application/json", "application/json;stream=watch", "application/yaml"],
            _ => &["application/json", "application/yaml"],
        };
        responses.insert(code.to_string(), json!({"description": text, "content": content(types, &answer)}));
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    let (group, version, kind) = &operation.gvk;
    let mut described = json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if !operation.query.is_empty() {
        described["parameters"] = operation.query.iter().map(|name| parameter(name, "query")).collect();
    }
    if operation.body.is_some() {
        let types: &[&str] = match (operation.is_patch(), custom) {
            (true, true) => &PATCHES[..3],
            (true, false) => &PATCHES,
            (false, _) => &["*/*"],
        };
        described["requestBody"] = json!({"content": content(types, &schema(&operation.body))});
        if !operation.method.starts_with("delete") {
            described["requestBody"]["required"] = true.into();
        }
    }
    described
}

//! The component schemas of a document: built-in definitions, those of custom resources, and nothing that no
//! path needs.

use super::custom::{self, Form};
use kinds::Kind;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// All that is published. References are written as OpenAPI v3 has them.
pub fn all(kinds: &[Arc<dyn Kind>], form: Form) -> Map<String, Value> {
    let mut all = kinds::openapi::definitions();
    for kind in kinds {
        let Some(structural) = kind.openapi() else { continue };
        let names = kind.names();
        let mut list = Map::from_iter([
            ("type".to_string(), json!("object")),
            ("description".into(), format!("A list of {} objects.", names.kind).into()),
            ("required".into(), json!(["items"])),
            ("x-kubernetes-group-version-kind".into(), custom::gvk(kind.as_ref(), &names.list_kind)),
        ]);
        let properties = json!({
            "apiVersion": {"type": "string", "description": "The version of the schema that this list is written in."},
            "kind": {"type": "string", "description": "The kind of this list."},
            "metadata": {"description": "What is known of the list as a whole.", "allOf": [{"$ref": pointer(&format!("{META}.ListMeta"))}]},
            "items": {"type": "array", "description": "The objects.", "items": {"allOf": [{"$ref": pointer(kind.definition())}]}},
        });
        list.insert("properties".into(), properties);
        custom::mark_selectable(kind.as_ref(), &mut list);
        all.insert(kind.definition().to_string(), custom::definition(kind.as_ref(), structural, form));
        all.insert(format!("{}List", kind.definition()), list.into());
    }
    all
}

pub fn pointer(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// Leaves only what the named definitions need.
pub fn keep(all: &mut Map<String, Value>, roots: impl IntoIterator<Item = String>) {
    let mut needed = BTreeSet::new();
    let mut open: Vec<String> = roots.into_iter().collect();
    while let Some(name) = open.pop() {
        if !all.contains_key(&name) || !needed.insert(name.clone()) {
            continue;
        }
        references(&all[&name], &mut open);
    }
    all.retain(|name, _| needed.contains(name));
}

/// Names of the definitions that are referred to.
pub fn references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(target) if key == "$ref" => out.extend(target.rsplit('/').next().map(str::to_string)),
                    _ => references(value, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, out)),
        _ => {}
    }
}

//! The component schemas of a document: built-in definitions, those of custom resources, and nothing that no
//! path needs.

use kinds::Kind;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// All that is published, in the form of OpenAPI v3.
pub fn all(kinds: &[Arc<dyn Kind>]) -> Map<String, Value> {
    let mut all = kinds::openapi::definitions();
    for kind in kinds {
        let Some(mut definition) = kind.openapi() else { continue };
        let names = kind.names();
        let gvk = |kind: &str| json!([{"group": names.group, "version": names.version, "kind": kind}]);
        definition["x-kubernetes-group-version-kind"] = gvk(&names.kind);
        let list = json!({
            "type": "object",
            "description": format!("A list of {} objects.", names.kind),
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": "The version of the schema that this list is written in."},
                "kind": {"type": "string", "description": "The kind of this list."},
                "metadata": {"description": "What is known of the list as a whole.", "allOf": [{"$ref": pointer(&format!("{META}.ListMeta"))}]},
                "items": {"type": "array", "description": "The objects.", "items": {"allOf": [{"$ref": pointer(kind.definition())}]}},
            },
            "x-kubernetes-group-version-kind": gvk(&names.list_kind),
        });
        all.insert(kind.definition().to_string(), definition);
        all.insert(format!("{}List", kind.definition()), list);
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

fn references(value: &Value, out: &mut Vec<String>) {
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

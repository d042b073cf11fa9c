//! The published definitions in OpenAPI v3 form, made when a document is asked for and not kept.

use crate::types::roots;
use crate::{facts, schema};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Every definition by its name, lists of kinds included.
pub fn definitions() -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    for root in roots() {
        (root.generate)(&mut generator);
    }
    let mut definitions: Map<String, Value> =
        generator.take_definitions(true).into_iter().map(|(name, shape)| (name.clone(), definition(&name, shape))).collect();
    for root in roots() {
        let Some((group, version, kind)) = root.gvk else { continue };
        let gvk = |kind: String| json!([{"group": group, "kind": kind, "version": version}]);
        if let Some(Value::Object(shape)) = definitions.get_mut(root.definition) {
            shape.insert("x-kubernetes-group-version-kind".into(), gvk(kind.into()));
        }
        if root.listed {
            let mut list = list(root.definition, kind);
            list["x-kubernetes-group-version-kind"] = gvk(format!("{kind}List"));
            definitions.insert(format!("{}List", root.definition), list);
        }
    }
    definitions
}

fn definition(name: &str, shape: Value) -> Value {
    let Value::Object(mut shape) = shape else { return shape };
    match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
            shape.insert("oneOf".into(), json!([{"type": "string"}, {"type": "number"}]));
        }
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
            shape.insert("format".into(), "int-or-string".into());
            shape.insert("oneOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
        }
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => {
            shape.retain(|key, _| key == "description");
        }
        _ => {}
    }
    shape.remove("x-kubernetes-int-or-string");
    shape.remove("title");
    if facts::is_atomic(name) {
        shape.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    let mut required: Vec<Value> = Vec::new();
    if let Some(Value::Object(properties)) = shape.get("properties") {
        let generated = |field: &str| shape.get("required").and_then(Value::as_array).is_some_and(|r| r.iter().any(|n| n == field));
        required.extend(properties.keys().filter(|f| facts::is_required(name, f, generated(f))).map(|f| f.as_str().into()));
    }
    shape.remove("required");
    if let Some(Value::Object(properties)) = shape.get_mut("properties") {
        for (field, shape) in properties.iter_mut() {
            let plain = std::mem::take(shape);
            let is_required = required.iter().any(|name| name == field);
            *shape = property(plain, field, is_required, facts::of(name, field));
        }
    }
    if !required.is_empty() {
        shape.insert("required".into(), required.into());
    }
    Value::Object(shape)
}

/// Moves references to where OpenAPI v3 has them, beside nothing else, and adds the facts.
fn property(shape: Value, field: &str, required: bool, facts: &'static str) -> Value {
    let mut shape = references(shape);
    let Value::Object(map) = &mut shape else { return shape };
    let mut set = |key: &str, value: Value| map.insert(format!("x-kubernetes-{key}"), value);
    if let Some(keys) = facts::value(facts, "map") {
        set("list-map-keys", keys.split(',').collect());
        set("list-type", "map".into());
    } else if facts::has(facts, "set") {
        set("list-type", "set".into());
    }
    for word in ["atomic", "granular"] {
        if facts::has(facts, word) {
            set("map-type", word.into());
        }
    }
    if let Some(key) = facts::value(facts, "key") {
        set("patch-merge-key", key.into());
    }
    if let Some(patch) = facts::value(facts, "patch") {
        set("patch-strategy", patch.into());
    }
    let untold = !facts::has(facts, "plain") && !map.contains_key("x-kubernetes-list-type");
    if untold && map.get("type").is_some_and(|ty| ty == "array") {
        map.insert("x-kubernetes-list-type".into(), "atomic".into());
    }
    if let Some(default) = schema::default(facts).or_else(|| zero(map, field, required, facts)) {
        map.insert("default".into(), default);
        if let Some(target) = map.remove("$ref") {
            map.insert("allOf".into(), json!([{"$ref": target}]));
        }
    }
    shape
}

/// The zero value is published as the default of what is written even when it is empty.
fn zero(shape: &Map<String, Value>, field: &str, required: bool, facts: &str) -> Option<Value> {
    if facts::has(facts, "unset") {
        return None;
    }
    let told = facts::has(facts, "zero");
    let target = shape.get("$ref").or_else(|| shape.get("allOf")?.get(0)?.get("$ref")).and_then(Value::as_str);
    if let Some(target) = target {
        let plain = ["Time", "MicroTime", "Quantity", "IntOrString", "JSON", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray"];
        let is_struct = !plain.contains(&target.rsplit('.').next().unwrap_or_default());
        return (told || (is_struct && (required || matches!(field, "metadata" | "spec" | "status")))).then(|| json!({}));
    }
    match shape.get("type").and_then(Value::as_str).filter(|_| told || required)? {
        "string" => Some("".into()),
        "integer" => Some(0.into()),
        "boolean" => Some(false.into()),
        _ => None,
    }
}

fn references(shape: Value) -> Value {
    let Value::Object(mut map) = shape else { return shape };
    let target = map.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()).map(pointer);
    if let Some(target) = target {
        map.remove("$ref");
        if map.is_empty() {
            return json!({"$ref": target});
        }
        map.insert("allOf".into(), json!([{"$ref": target}]));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.remove(key) {
            map.insert(key.into(), references(inner));
        }
    }
    Value::Object(map)
}

fn pointer(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

fn list(item: &str, kind: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("A list of {kind} objects."),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of the schema that this list is written in."},
            "kind": {"type": "string", "description": "The kind of this list."},
            "metadata": {
                "description": "What is known of the list as a whole.", "default": {},
                "allOf": [{"$ref": pointer(&format!("{META}.ListMeta"))}],
            },
            "items": {"type": "array", "description": "The objects.", "items": {"allOf": [{"$ref": pointer(item)}]}},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is published is a definition here too, with the same required fields and extensions.
    #[test]
    fn documents_agree_with_those_of_a_stock_api_server() {
        let ours = definitions();
        for root in roots() {
            assert!(ours.contains_key(root.definition), "{}", root.definition);
        }
        for shape in ours.values() {
            let text = shape.to_string();
            for reference in text.split("#/components/schemas/").skip(1) {
                let name = reference.split('"').next().unwrap_or_default();
                assert!(ours.contains_key(name), "{name} is referred to but not there");
            }
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes-1.36/openapi/v3");
        let Ok(files) = std::fs::read_dir(folder) else {
            eprintln!("skipped: {folder} is absent");
            return;
        };
        let stable = |name: &str| !name.contains("alpha") && !name.contains("beta") && name.contains("__v");
        let files = files.filter_map(Result::ok).filter(|file| stable(&file.file_name().to_string_lossy()));
        let mut theirs: Map<String, Value> = Map::new();
        for file in files {
            let text = std::fs::read(file.path()).expect("readable");
            let document: Value = serde_json::from_slice(&text).expect("the published document parses");
            theirs.extend(document["components"]["schemas"].as_object().cloned().unwrap_or_default());
        }
        let mut wrong = Vec::new();
        for (name, theirs) in &theirs {
            let Some(ours) = ours.get(name) else {
                wrong.push(format!("{name} is missing"));
                continue;
            };
            let sorted = |list: &Value| {
                let mut list: Vec<String> = list.as_array().into_iter().flatten().map(Value::to_string).collect();
                list.sort();
                list
            };
            if sorted(&ours["required"]) != sorted(&theirs["required"]) {
                wrong.push(format!("{name}: required {}", ours["required"]));
            }
            for (field, theirs) in theirs["properties"].as_object().into_iter().flatten() {
                let ours = &ours["properties"][field];
                // A reference alone and one wrapped for the sake of its neighbours mean the same.
                let told = |shape: &Value| {
                    let keep = |key: &str| key.starts_with("x-") || matches!(key, "type" | "format" | "default");
                    let kept = shape.as_object().into_iter().flatten().filter(|(k, _)| keep(k)).map(|(k, v)| (k.clone(), v.clone()));
                    (kept.collect::<Map<String, Value>>(), shape.pointer("/allOf/0/$ref").or(shape.get("$ref")).cloned())
                };
                // Upstream calls these bytes an atomic list.
                let known = name.ends_with(".APIServiceSpec") && field == "caBundle";
                if told(ours) != told(theirs) && !known {
                    wrong.push(format!("{name}.{field}: {:?} instead of {:?}", told(ours), told(theirs)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

//! Against the OpenAPI document of a stock API server, where it is at hand.

use super::*;
use std::collections::BTreeSet;

fn published() -> Option<Map<String, Value>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes-1.36/openapi/v2.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("skipped: {path} is absent");
        return None;
    };
    let document: Value = serde_json::from_slice(&text).expect("the published document parses");
    document["definitions"].as_object().cloned()
}

/// Compares a property with our type, and says what is different.
fn difference(schema: &Schema, ty: TypeId, property: &Value) -> Option<String> {
    let format = property["format"].as_str().unwrap_or_default();
    let reference = reference(property);
    let fits = match schema.ty(ty) {
        Type::Any => reference.is_some_and(|name| matches!(special(name), Some(Type::Any))),
        Type::Struct(shape) => reference == Some(&shape.name),
        Type::Scalar(Scalar::Quantity) => reference.is_some_and(|r| r.ends_with("resource.Quantity")),
        Type::Scalar(Scalar::IntOrString) => reference.is_some_and(|r| r.ends_with(".IntOrString")),
        Type::Scalar(Scalar::Time) => reference.is_some_and(|r| r.ends_with("v1.Time")),
        Type::Scalar(Scalar::MicroTime) => reference.is_some_and(|r| r.ends_with("v1.MicroTime")),
        Type::Scalar(Scalar::Bytes) => property["type"] == "string" && format == "byte",
        Type::Scalar(Scalar::String) => property["type"] == "string" && format.is_empty(),
        Type::Scalar(Scalar::Int32) => property["type"] == "integer" && format == "int32",
        Type::Scalar(Scalar::Int64) => property["type"] == "integer" && format == "int64",
        Type::Scalar(Scalar::Float) => property["type"] == "number",
        Type::Scalar(Scalar::Bool) => property["type"] == "boolean",
        Type::Map { value, atomic } => {
            if *atomic != (property["x-kubernetes-map-type"] == "atomic") {
                return Some("map type".into());
            }
            return difference(schema, *value, &property["additionalProperties"]);
        }
        Type::List { item, list_type } => {
            let same = match list_type {
                ListType::Atomic => matches!(property["x-kubernetes-list-type"].as_str(), None | Some("atomic")),
                ListType::Set => property["x-kubernetes-list-type"] == "set",
                ListType::Map(keys) => property["x-kubernetes-list-map-keys"] == Value::from(keys.iter().map(|k| &**k).collect::<Vec<_>>()),
            };
            if !same {
                return Some("list type".into());
            }
            return difference(schema, *item, &property["items"]);
        }
    };
    (!fits).then(|| format!("{:?}", schema.ty(ty)))
}

#[test]
fn every_stable_definition_has_upstreams_fields_types_and_merge_rules() {
    let Some(published) = published() else { return };
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for root in roots() {
        let schema = of(root.definition);
        for shape in &schema.types {
            let Type::Struct(shape) = shape else { continue };
            let Some(theirs) = published.get(&shape.name) else {
                wrong.push(format!("{} is not published", shape.name));
                continue;
            };
            seen.insert(shape.name.clone());
            if shape.atomic != (theirs["x-kubernetes-map-type"] == "atomic") && shape.name != "io.k8s.api.core.v1.ObjectReference" {
                wrong.push(format!("{}: atomic", shape.name));
            }
            let empty = Map::new();
            let properties = theirs["properties"].as_object().unwrap_or(&empty);
            let ours: Vec<&str> = shape.fields.iter().map(|f| &*f.name).collect();
            let mut names: Vec<&str> = properties.keys().map(String::as_str).collect();
            names.sort_unstable();
            if ours != names {
                wrong.push(format!("{}: {ours:?} instead of {names:?}", shape.name));
                continue;
            }
            for field in &shape.fields {
                let at = format!("{}.{}", shape.name, field.name);
                let property = &properties[&*field.name];
                if let Some(difference) = difference(&schema, field.ty, property) {
                    wrong.push(format!("{at}: {difference}"));
                }
                let required = theirs["required"].as_array().is_some_and(|r| r.iter().any(|n| *n == *field.name));
                if required != field.required {
                    wrong.push(format!("{at}: required"));
                }
                let patch = property["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
                let strategy = Strategy {
                    merge: patch.contains("merge"),
                    retain_keys: patch.contains("retainKeys"),
                    key: property["x-kubernetes-patch-merge-key"].as_str().map(Into::into),
                };
                if strategy != field.strategy {
                    wrong.push(format!("{at}: {:?}", field.strategy));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unstable = |name: &str| ["alpha", "beta"].iter().any(|word| name.contains(word));
    let missing: Vec<&String> = published
        .iter()
        .filter(|(name, shape)| shape.get("x-kubernetes-group-version-kind").is_some() && !unstable(name) && !name.ends_with("List"))
        .map(|(name, _)| name)
        .filter(|name| !seen.contains(*name) && special(name).is_none())
        .collect();
    assert!(missing.is_empty(), "kinds without a schema: {missing:?}");
}

#[test]
fn keys_of_lists_count_as_their_published_default() {
    let schema = of("io.k8s.api.core.v1.Pod");
    let shape = |name: &str| {
        schema.types.iter().find_map(|ty| match ty {
            Type::Struct(shape) if shape.name == name => Some(shape),
            _ => None,
        })
    };
    let port = shape("io.k8s.api.core.v1.ContainerPort").unwrap();
    assert_eq!(port.field("protocol").unwrap().default, Some("TCP".into()));
    assert_eq!(port.field("containerPort").unwrap().default, Some(0.into()));
    assert_eq!(shape("io.k8s.api.core.v1.LocalObjectReference").unwrap().field("name").unwrap().default, Some("".into()));
}

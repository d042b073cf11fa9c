//! An object in the version and shape that its reader wants.

use crate::catalog::Resource;
use crate::negotiate::{Include, Shape};
use bytes::Bytes;
use meta::value;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// What is cached, as a tree in the served version. What a definition converts has come through [`crate::conversion::read`].
pub fn served(resource: &Resource, bytes: &[u8]) -> Value {
    let mut object: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    if resource.conversion.is_some() {
        return object;
    }
    if let Some(stored) = resource.kind.stored_as() {
        (stored.from_stored)(&mut object);
        identify(resource, &mut object);
        resource.kind.default(&mut object);
    }
    object
}

/// Says in the object what it is.
pub fn identify(resource: &Resource, object: &mut Value) {
    value::set(object, &["apiVersion"], resource.api_version.as_str());
    value::set(object, &["kind"], &*resource.kind.names().kind);
}

/// The JSON of one object as its reader wants it; the cached bytes themselves wherever that is possible.
pub fn encoded(resource: &Resource, shape: Shape, bytes: &Bytes, columns: bool) -> Bytes {
    match shape {
        Shape::Object if !resource.is_view() || resource.conversion.is_some() => bytes.clone(),
        Shape::Object => to_bytes(&served(resource, bytes)),
        Shape::Partial => to_bytes(&partial(&served(resource, bytes))),
        Shape::Table(include) => to_bytes(&table(resource, include, &[served(resource, bytes)], &json!({}), columns)),
    }
}

fn to_bytes(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// One object in a shape.
pub fn shaped<'v>(resource: &Resource, shape: Shape, object: &'v Value) -> Cow<'v, Value> {
    Cow::Owned(match shape {
        Shape::Object => return Cow::Borrowed(object),
        Shape::Partial => partial(object),
        Shape::Table(include) => {
            let revision = value::text(object, &["metadata", "resourceVersion"]);
            table(resource, include, std::slice::from_ref(object), &json!({"resourceVersion": revision}), true)
        }
    })
}

pub fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// A `Table` of objects in the served version.
pub fn table(resource: &Resource, include: Include, objects: &[Value], metadata: &Value, columns: bool) -> Value {
    let kind = &resource.kind;
    let now = jiff::Timestamp::now();
    let rows = objects.iter().map(|object| {
        let mut row = Map::new();
        row.insert("cells".into(), kind.row(object, now).into());
        match include {
            Include::None => {}
            Include::Metadata => {
                row.insert("object".into(), partial(object));
            }
            Include::Object => {
                row.insert("object".into(), object.clone());
            }
        }
        Value::Object(row)
    });
    let rows: Vec<Value> = rows.collect();
    let definitions: Vec<Value> = if columns { definitions(resource) } else { Vec::new() };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}

fn definitions(resource: &Resource) -> Vec<Value> {
    let columns = resource.kind.columns();
    let definition =
        |c: &kinds::Column| json!({"name": c.name, "type": c.ty, "format": c.format, "description": c.description, "priority": c.priority});
    columns.iter().map(definition).collect()
}

/// What a bookmark shows of the kind.
pub fn bookmark(resource: &Resource, shape: Shape, metadata: Value) -> Value {
    match shape {
        Shape::Object => json!({"kind": resource.kind.names().kind, "apiVersion": resource.api_version, "metadata": metadata}),
        Shape::Partial => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}),
        Shape::Table(include) => {
            let mut row = json!({"cells": resource.kind.columns().iter().map(|_| Value::Null).collect::<Vec<_>>()});
            if include != Include::None {
                row["object"] = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
            }
            json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": metadata["resourceVersion"]}, "columnDefinitions": [], "rows": [row]})
        }
    }
}

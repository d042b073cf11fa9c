//! Between what is stored and what is read.

use crate::objects::{Header, Object};
use bytes::Bytes;
use kinds::Kind;
use meta::value;
use serde_json::Value;
use std::sync::Arc;
use store::Revision;

/// The stored JSON as a tree, with its resource version, and with the defaults of today.
pub fn decode_stored(kind: &dyn Kind, bytes: &[u8], revision: Revision) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    if !value.is_object() {
        return None;
    }
    // What another version of a definition has stored is for its conversion.
    if kind.stored_as().is_none() && is_of(kind, &value) {
        kind.default(&mut value);
    }
    value::set(&mut value, &["metadata", "resourceVersion"], revision.to_string());
    Some(value)
}

fn is_of(kind: &dyn Kind, value: &Value) -> bool {
    let names = kind.names();
    let api_version = value::text(value, &["apiVersion"]);
    match api_version.split_once('/') {
        Some((group, version)) => group == names.group && version == names.version,
        None => names.group.is_empty() && api_version == names.version,
    }
}

/// `previous` lends its header where nothing in it has changed.
pub fn object(kind: &dyn Kind, value: &Value, revision: Revision, previous: Option<&Object>) -> Object {
    let header = header(kind, value);
    let header = match previous {
        Some(previous) if *previous.header == header => previous.header.clone(),
        _ => Arc::new(header),
    };
    // A tree of JSON values always serializes.
    Object { bytes: Bytes::from(serde_json::to_vec(value).unwrap_or_default()), revision, header }
}

pub fn header(kind: &dyn Kind, object: &Value) -> Header {
    let text = |name| value::text(object, &["metadata", name]).into();
    let labels = value::at(object, &["metadata", "labels"]).and_then(Value::as_object);
    // A JSON map is sorted by key already.
    let labels = labels.into_iter().flatten().map(|(k, v)| (k.as_str().into(), v.as_str().unwrap_or_default().into())).collect();
    let fields = kind.selectable_fields().into_iter();
    let fields = fields.map(|f| (f.clone(), kind.selectable(object, &f).into())).collect();
    Header { namespace: text("namespace"), name: text("name"), uid: text("uid"), labels, fields }
}

/// An object with another resource version.
pub fn at_revision(object: &Object, revision: Revision) -> Object {
    let mut value = object.value();
    value::set(&mut value, &["metadata", "resourceVersion"], revision.to_string());
    Object { bytes: Bytes::from(serde_json::to_vec(&value).unwrap_or_default()), revision, header: object.header.clone() }
}

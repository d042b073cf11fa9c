//! An object as the server keeps it: its bytes as every reader gets them, encoded once, next to the few
//! parsed fields that are selected on.

use bytes::Bytes;
use meta::GroupResource;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use store::Revision;
use tokio::sync::mpsc;

/// What selection, routing and ownership look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Empty for what is not namespaced.
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    /// Sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The kind's selectable fields and their values.
    pub fields: Box<[(Cow<'static, str>, Box<str>)]>,
}

impl Header {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok().map(|i| self.labels[i].1.as_ref())
    }

    /// The value of a selectable field; `None` for fields that are not kept here.
    pub fn field(&self, path: &str) -> Option<&str> {
        match path {
            "metadata.name" => Some(&self.name),
            "metadata.namespace" => Some(&self.namespace),
            _ => self.fields.iter().find(|(p, _)| p == path).map(|(_, v)| v.as_ref()),
        }
    }
}

#[derive(Debug)]
pub struct Object {
    /// The JSON of the stored version, `metadata.resourceVersion` included.
    pub bytes: Bytes,
    pub revision: Revision,
    pub header: Arc<Header>,
}

impl Object {
    /// Parsed anew for each call: trees are many times the size of the bytes, so none is kept.
    pub fn value(&self) -> Value {
        // The bytes were read back or written by this server; what cannot be parsed was never admitted.
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// Whether its JSON has `text` in it, wherever. Where not, there is nothing to parse it for.
    pub fn mentions(&self, text: &str) -> bool {
        std::str::from_utf8(&self.bytes).is_ok_and(|json| json.contains(text))
    }

    pub fn namespace(&self) -> &str {
        &self.header.namespace
    }

    pub fn name(&self) -> &str {
        &self.header.name
    }

    pub fn uid(&self) -> &str {
        &self.header.uid
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.header.label(key)
    }
}

/// A change of one object; `new` is none for a deletion.
#[derive(Clone, Debug)]
pub struct ObjectChange {
    pub old: Option<Arc<Object>>,
    pub new: Option<Arc<Object>>,
}

/// Reads from the watch caches, for the parts of the server that decide by other objects (authorization,
/// admission). Never waits; as fresh as the feed from the store.
pub trait Objects: Send + Sync + 'static {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Object>>;

    /// All, or those of one namespace, in key order.
    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Object>>;

    /// Starts with one change per object that is there, then every change in order. Closed when the resource is
    /// not served.
    fn changes(&self, resource: &GroupResource) -> mpsc::UnboundedReceiver<ObjectChange>;
}

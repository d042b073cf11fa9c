//! API servers behind this one (`APIService` with a service): whether they can be reached, what they serve, and the
//! way to them. Each is looked after by a task of its own, so that one that hangs keeps nobody else waiting.

mod availability;
mod discovery;
pub(crate) mod openapi;
pub(crate) mod proxy;
mod registration;
mod remote;
mod run;

pub use remote::ClientIdentity;
pub use run::run;

use crate::attributes::Attributes;
use parking_lot::RwLock;
use remote::Remote;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

pub const GROUP: &str = "apiregistration.k8s.io";

/// What a server behind this one said it serves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    /// As aggregated discovery has it.
    pub resources: Vec<Value>,
    /// Where it has its OpenAPI v3 document, as its own index says; none where it has none.
    pub openapi: Option<String>,
    pub older: Option<Arc<Older>>,
    /// It could not be asked the last time.
    pub stale: bool,
}

/// The part of a server's older OpenAPI document that is about its version.
#[derive(Debug)]
pub(crate) struct Older {
    /// Changes when the document does.
    pub tag: String,
    pub paths: Map<String, Value>,
    pub definitions: Map<String, Value>,
}

/// A group version that is served elsewhere, for discovery.
pub(crate) struct Elsewhere {
    pub group: String,
    pub version: String,
    pub group_priority: i64,
    pub document: Document,
}

/// Who serves what elsewhere. Requests look here first; it is kept by [`run`].
#[derive(Default)]
pub struct Aggregator {
    identity: Option<ClientIdentity>,
    remotes: RwLock<Arc<Vec<Arc<Remote>>>>,
    /// By the name of the APIService.
    documents: RwLock<HashMap<String, Document>>,
}

impl Aggregator {
    /// `identity`: the certificate by which servers know that user headers are true.
    pub fn new(identity: Option<ClientIdentity>) -> Self {
        Self { identity, ..Self::default() }
    }

    /// The server for what the request is about, if that is not this one.
    pub(crate) fn remote(&self, attributes: &Attributes) -> Option<Arc<Remote>> {
        let remotes = self.remotes.read().clone();
        if remotes.is_empty() {
            return None;
        }
        if attributes.is_resource {
            return find(&remotes, &attributes.group, &attributes.version);
        }
        self.at(attributes.path.trim_matches('/'))
    }

    /// For `apis/<group>/<version>`.
    pub(crate) fn at(&self, path: &str) -> Option<Arc<Remote>> {
        let mut parts = path.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("apis"), Some(group), Some(version), None) => find(&self.remotes.read(), group, version),
            _ => None,
        }
    }

    pub(crate) fn elsewhere(&self) -> Vec<Elsewhere> {
        let remotes = self.remotes.read().clone();
        let documents = self.documents.read();
        let mut all: Vec<(i64, Elsewhere)> = remotes
            .iter()
            .map(|remote| {
                // Nothing is known yet: the version is there, and what is in it may be out of date.
                let document = documents.get(&remote.name).cloned().unwrap_or(Document { stale: true, ..Document::default() });
                let (group, version) = (remote.group.clone(), remote.version.clone());
                (remote.version_priority, Elsewhere { group, version, group_priority: remote.group_priority, document })
            })
            .collect();
        all.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.version.cmp(&right.version)));
        all.into_iter().map(|(_, one)| one).collect()
    }
}

fn find(remotes: &[Arc<Remote>], group: &str, version: &str) -> Option<Arc<Remote>> {
    remotes.iter().find(|r| r.group == group && r.version == version).cloned()
}

//! What admission is asked about.

use super::rounds::Rounds;
use crate::attributes::Attributes;
use crate::catalog::Resource;
use crate::handlers::Warnings;
use crate::server::ApiServer;
use meta::GroupVersionKind;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The options of a write, made into JSON only where somebody wants to see them.
pub trait AsOptions: Send + Sync {
    fn options(&self, operation: Operation) -> Value;
}

/// `attributes.subresource` says which part is written.
pub struct Request<'a> {
    pub server: &'a ApiServer,
    pub operation: Operation,
    pub attributes: &'a Attributes,
    pub resource: &'a Arc<Resource>,
    /// What the object is that is shown: the resource's own kind, or a subresource's (`Scale`, `Eviction`).
    pub kind: GroupVersionKind,
    /// The object's name; empty for a create whose name is still to be generated.
    pub name: &'a str,
    /// The object's namespace; empty for what is in none.
    pub namespace: &'a str,
    pub dry_run: bool,
    /// None for a connect.
    pub options: Option<&'a dyn AsOptions>,
    pub warnings: &'a Warnings,
    pub(super) rounds: Rounds,
    pub(super) equivalents: OnceLock<Vec<Arc<Resource>>>,
}

impl<'a> Request<'a> {
    pub fn new(
        server: &'a ApiServer,
        operation: Operation,
        attributes: &'a Attributes,
        resource: &'a Arc<Resource>,
        warnings: &'a Warnings,
    ) -> Self {
        let names = resource.kind.names();
        Self {
            server,
            operation,
            attributes,
            resource,
            kind: GroupVersionKind::new(&*names.group, &*names.version, &*names.kind),
            name: &attributes.name,
            namespace: if resource.namespaced() { &attributes.namespace } else { "" },
            dry_run: false,
            options: None,
            warnings,
            rounds: Rounds::default(),
            equivalents: OnceLock::new(),
        }
    }

    /// The object shown is one of the resource itself rather than a subresource's.
    pub fn is_whole(&self) -> bool {
        let names = self.resource.kind.names();
        self.kind.kind == names.kind && self.kind.group == names.group && self.kind.version == names.version
    }

    /// `CreateOptions` and the like; null for a connect.
    pub fn shown_options(&self) -> Value {
        self.options.map_or(Value::Null, |o| o.options(self.operation))
    }

    /// A namespace is in its own namespace.
    pub fn effective_namespace(&self) -> &str {
        if self.of("", "namespaces") { self.name } else { self.namespace }
    }

    /// The name as the request gave it: a collection's delete gives none.
    pub fn given_name(&self) -> &str {
        if self.attributes.verb == "deletecollection" { "" } else { self.name }
    }
}

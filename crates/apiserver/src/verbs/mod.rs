//! The verbs, generic over kinds.

pub mod create;
pub mod delete;
pub mod delete_collection;
pub mod get;
pub mod list;
pub mod patch;
pub mod scale;
pub mod select;
pub mod token;
pub mod update;
pub mod view;
pub mod watch;

use crate::body::Body;
use crate::catalog::Resource;
use crate::handlers::Context;
use crate::negotiate::{Output, Shape};
use crate::query::Query;
use crate::registry::{self, Options, Task};
use crate::server::ApiServer;
use crate::watch_cache::Cache;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use kinds::wire;
use meta::{ApiError, GroupKind, value};
use serde_json::Value;
use std::sync::Arc;
use store::Revision;

/// A request for a stored resource.
pub struct Call<'a> {
    pub context: &'a Context,
    pub server: &'a ApiServer,
    pub resource: &'a Arc<Resource>,
    pub query: &'a Query,
    pub headers: &'a HeaderMap,
    pub output: Output,
    /// Empty for cluster-wide resources, and for all namespaces.
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Call<'_> {
    pub fn cache(&self) -> Result<&Arc<Cache>, ApiError> {
        registry::cache(self.resource)
    }

    /// None: all namespaces, or a resource without.
    pub fn in_namespace(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(self.namespace)
    }

    /// Whether what is answered has a protobuf form: built-in kinds, and the metadata of any.
    pub fn in_protobuf(&self) -> bool {
        match self.output.shape {
            Shape::Object => wire::known(&self.resource.api_version, &self.resource.kind.names().kind),
            Shape::Partial => true,
            Shape::Table(_) => false,
        }
    }

    /// The task of a write, with the options of the query. `options` is their kind, for error texts.
    pub fn task(&self, options: &'static str) -> Result<Task<'_>, ApiError> {
        Ok(Task {
            server: self.server,
            resource: self.resource,
            attributes: &self.context.attributes,
            namespace: self.namespace,
            warnings: &self.context.warnings,
            options: Options::parse(self.query, self.headers, options)?,
            admit: true,
        })
    }

    pub fn respond(&self, status: StatusCode, object: &Value) -> Result<Response<Body>, ApiError> {
        let shown = view::shaped(self.resource, self.output.shape, object);
        Ok(self.output.respond(status, &shown))
    }

    /// The answer to a write that came out as `object`: the bytes that readers get of it, where they are at hand.
    pub fn respond_written(&self, task: &Task<'_>, status: StatusCode, object: &Value) -> Result<Response<Body>, ApiError> {
        let metadata = |field| value::text(object, &["metadata", field]);
        let as_cached = self.output.shape == Shape::Object && !task.options.dry_run && !self.resource.is_view();
        let found = if as_cached { self.cache()?.get(self.namespace, metadata("name")) } else { None };
        match found.filter(|found| found.revision.to_string() == metadata("resourceVersion")) {
            Some(found) => Ok(self.output.respond_parts(status, vec![found.bytes.clone(), Bytes::from_static(b"\n")])),
            None => self.respond(status, object),
        }
    }
}

/// A `resourceVersion` parameter.
pub fn revision(text: &str) -> Result<Option<Revision>, ApiError> {
    match text {
        "" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|_| invalid_options("ListOptions", "resourceVersion", text, "strconv.ParseUint: invalid syntax"))
        }
    }
}

/// The 422 of a parameter.
pub fn invalid_options(options: &str, field: &str, value: &str, detail: &str) -> ApiError {
    let mut errors = meta::FieldErrors::new();
    errors.invalid(&meta::FieldPath::new(field), value, detail);
    ApiError::invalid(&GroupKind::new("meta.k8s.io", options), "", &errors)
}

//! What a write goes through whatever its kind: decoding, admission, preparation, validation, the store.

mod create;
mod decode;
mod delete;
mod generation;
mod leases;
mod options;
mod owners;
mod storage;
mod update;

pub use create::create;
pub use decode::{Decoded, decode, decode_bare, decode_tree};
pub use delete::{DeleteOptions, Deleted, delete};
pub use leases::Leases;
pub use options::{Options, Validation};
pub use owners::apply;
pub use storage::store_error;
pub use update::{Changed, Part, Shown, check_name, update};

use crate::admission;
use crate::attributes::Attributes;
use crate::catalog::Resource;
use crate::handlers::Warnings;
use crate::server::ApiServer;
use crate::watch_cache::Cache;
use meta::{ApiError, FieldErrors};
use std::sync::Arc;

/// A write that is under way.
pub struct Task<'a> {
    pub server: &'a ApiServer,
    pub resource: &'a Arc<Resource>,
    pub attributes: &'a Attributes,
    /// Empty for cluster-wide resources.
    pub namespace: &'a str,
    pub warnings: &'a Warnings,
    pub options: Options,
    /// Admission is asked; not for what the server itself writes.
    pub admit: bool,
}

impl Task<'_> {
    fn request<'r>(&'r self, operation: admission::Operation, name: &'r str) -> admission::Request<'r> {
        let mut request = admission::Request::new(self.server, operation, self.attributes, self.resource, self.warnings);
        request.name = name;
        request.namespace = self.namespace;
        request.dry_run = self.options.dry_run;
        request.options = Some(&self.options);
        request
    }

    fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.resource.group_resource, name)
    }

    fn invalid(&self, name: &str, errors: &FieldErrors) -> ApiError {
        ApiError::invalid(&self.resource.group_kind, name, errors)
    }
}

pub fn cache(resource: &Resource) -> Result<&Arc<Cache>, ApiError> {
    resource.cache.as_ref().ok_or_else(|| ApiError::not_implemented(&resource.group_resource))
}

/// Groups whose kinds may have finalizers of any name, as `customresourcecleanup.apiextensions.k8s.io` is one.
const ANY_FINALIZER: [&str; 4] = ["admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io"];

/// Built-in kinds have no finalizers but qualified ones and Kubernetes' own.
fn finalizers(task: &Task<'_>, metadata: &serde_json::Value) -> meta::FieldErrors {
    let mut errors = meta::FieldErrors::new();
    if task.resource.custom || ANY_FINALIZER.contains(&&*task.resource.group_resource.group) {
        return errors;
    }
    let names = meta::value::items(metadata, &["finalizers"]).iter().filter_map(serde_json::Value::as_str);
    for (i, name) in names.enumerate() {
        errors.extend(meta::validate::kube_finalizer_name(name, &meta::FieldPath::new("metadata.finalizers").index(i)));
    }
    errors
}

//! What several plugins ask of a request.

use super::{Operation, Request};
use crate::objects::Object;
use meta::{ApiError, GroupResource};
use serde_json::Value;
use std::sync::Arc;

impl Request<'_> {
    /// The object itself, of this resource, is written.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.attributes.subresource.is_empty() && self.of(group, resource)
    }

    /// The object or a part of it.
    pub fn of(&self, group: &str, resource: &str) -> bool {
        let gr = &self.resource.group_resource;
        gr.group == group && gr.resource == resource
    }

    pub fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.is(group, resource)
    }

    pub fn updates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Update && self.is(group, resource)
    }

    pub fn object(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.server.objects().get(&GroupResource::new(group, resource), namespace, name)
    }

    pub fn objects(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.server.objects().list(&GroupResource::new(group, resource), namespace)
    }

    pub fn values(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Value> {
        self.objects(group, resource, namespace).iter().map(|o| o.value()).collect()
    }

    pub fn forbidden(&self, why: impl AsRef<str>) -> ApiError {
        ApiError::forbidden(&self.resource.group_resource, self.name, why.as_ref())
    }
}

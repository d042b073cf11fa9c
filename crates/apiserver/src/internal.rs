//! Writes by the server itself and by its plugins: through the registry like any other, but nobody is
//! asked whether they may.

use crate::attributes::Attributes;
use crate::catalog::Resource;
use crate::handlers::Warnings;
use crate::registry::{self, Changed, DeleteOptions, Options, Part, Task};
use crate::server::ApiServer;
use crate::user::User;
use meta::{ApiError, GroupResource, value};
use serde_json::Value;
use std::sync::Arc;

/// Who the server is to itself.
const SELF: &str = "system:apiserver";

struct Own {
    resource: Arc<Resource>,
    attributes: Attributes,
    warnings: Warnings,
}

impl Own {
    fn new(server: &ApiServer, resource: &GroupResource, verb: &str, namespace: &str, name: &str) -> Result<Self, ApiError> {
        let found = server.catalog().by_resource(resource).ok_or_else(ApiError::page_not_found)?;
        let names = found.kind.names();
        let attributes = Attributes {
            user: Arc::new(User::system(SELF)),
            verb: verb.into(),
            group: names.group.to_string(),
            version: names.version.to_string(),
            resource: names.plural.to_string(),
            namespace: namespace.into(),
            name: name.into(),
            is_resource: true,
            named: !name.is_empty(),
            ..Attributes::default()
        };
        Ok(Self { resource: found, attributes, warnings: Warnings::default() })
    }

    fn task<'a>(&'a self, server: &'a ApiServer) -> Task<'a> {
        let namespace = if self.resource.namespaced() { self.attributes.namespace.as_str() } else { "" };
        Task {
            server,
            resource: &self.resource,
            attributes: &self.attributes,
            namespace,
            warnings: &self.warnings,
            options: Options::own(),
            admit: false,
        }
    }
}

impl ApiServer {
    pub async fn create_object(&self, resource: &GroupResource, mut object: Value) -> Result<Value, ApiError> {
        let namespace = value::text(&object, &["metadata", "namespace"]).to_string();
        let own = Own::new(self, resource, "create", &namespace, "")?;
        value::default(&mut object, &["apiVersion"], own.resource.api_version.as_str());
        value::default(&mut object, &["kind"], own.resource.group_kind.kind.as_str());
        own.resource.kind.default(&mut object);
        registry::create(&own.task(self), object, false).await
    }

    /// Changes an object, but for its status, as often as it takes.
    pub async fn update_object(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut Value) -> Result<(), ApiError> + Send,
    ) -> Result<Value, ApiError> {
        self.update_part(resource, namespace, name, Part::Main, change).await
    }

    /// Changes an object's status, as often as it takes.
    pub async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut Value) -> Result<(), ApiError> + Send,
    ) -> Result<Value, ApiError> {
        self.update_part(resource, namespace, name, Part::Status, change).await
    }

    async fn update_part(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        part: Part,
        mut change: impl FnMut(&mut Value) -> Result<(), ApiError> + Send,
    ) -> Result<Value, ApiError> {
        let own = Own::new(self, resource, "update", namespace, name)?;
        let mut changed = |old: Option<&Value>| {
            let mut object = old.cloned().unwrap_or_default();
            change(&mut object)?;
            // The newest state is what it is made from, so a lost race is tried again.
            value::remove(&mut object, &["metadata", "resourceVersion"]);
            Ok(Changed::new(object))
        };
        Ok(registry::update(&own.task(self), name, part, false, &mut changed).await?.0)
    }

    pub async fn delete_object(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        grace: Option<i64>,
    ) -> Result<(), ApiError> {
        let own = Own::new(self, resource, "delete", namespace, name)?;
        let options = DeleteOptions { grace, uid: uid.map(str::to_string), ..DeleteOptions::default() };
        registry::delete(&own.task(self), name, &options).await.map(drop)
    }
}

//! What may still change or refuse a write once its caller is authorized: the seam, and the plugins in
//! the order they run. Mutating plugins see the decoded and defaulted object before validation; validating
//! plugins see what would be stored.

use crate::attributes::Attributes;
use crate::catalog::Resource;
use crate::handlers::Warnings;
use crate::server::ApiServer;
use async_trait::async_trait;
use meta::ApiError;
use serde_json::Value;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// What admission is asked about. `attributes.subresource` says which part is written.
pub struct Request<'a> {
    pub server: &'a ApiServer,
    pub operation: Operation,
    pub attributes: &'a Attributes,
    pub resource: &'a Arc<Resource>,
    /// The object's name; empty for a create whose name is still to be generated.
    pub name: &'a str,
    pub dry_run: bool,
    pub warnings: &'a Warnings,
}

#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// As upstream names it (`LimitRanger`).
    fn name(&self) -> &'static str;

    /// `object` is what will be stored; for a delete it is the object that goes.
    async fn mutate(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let _ = (request, object, old);
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let _ = (request, object, old);
        Ok(())
    }
}

/// The plugins, in order.
#[derive(Clone, Default)]
pub struct Admission {
    plugins: Vec<Arc<dyn Plugin>>,
}

impl Admission {
    pub fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self { plugins }
    }

    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        for plugin in &self.plugins {
            plugin.mutate(request, object, old).await?;
        }
        Ok(())
    }

    pub async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        for plugin in &self.plugins {
            plugin.validate(request, object, old).await?;
        }
        Ok(())
    }
}

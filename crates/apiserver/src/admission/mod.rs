//! What may still change or refuse a write once its caller is authorized: the seam, and the plugins in
//! the order they run. Mutating plugins see the decoded and defaulted object before validation; validating
//! plugins see what would be stored.

mod escalation;
mod limit_ranger;
mod lookup;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod pods;
mod quota;
mod service_account;
mod storage;

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

/// The plugins that come with the server, in upstream's order. Addresses are given near the end, when nothing
/// but validation can still refuse.
pub fn standard(config: &crate::server::Config) -> Result<Admission, crate::allocate::BadRange> {
    Ok(Admission::new(vec![
        Arc::new(namespace_lifecycle::NamespaceLifecycle),
        Arc::new(limit_ranger::LimitRanger),
        Arc::new(service_account::ServiceAccount),
        Arc::new(node_restriction::NodeRestriction),
        Arc::new(pods::TaintNodesByCondition),
        Arc::new(pod_security::PodSecurity),
        Arc::new(pods::Priority),
        Arc::new(pods::DefaultTolerationSeconds),
        Arc::new(storage::DefaultStorageClass),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(storage::PersistentVolumeClaimResize),
        Arc::new(pods::RuntimeClass),
        Arc::new(storage::DefaultIngressClass),
        Arc::new(escalation::Escalation),
        Arc::new(crate::allocate::Services::new(&config.service_cidr, config.node_port_range.clone())?),
        Arc::new(quota::ResourceQuota::default()),
    ]))
}

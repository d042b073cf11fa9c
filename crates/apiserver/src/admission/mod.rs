//! What may still change or refuse a write once its caller is authorized: the seam, and the plugins in
//! the order they run. Mutating plugins see the decoded and defaulted object before validation; validating
//! plugins see what would be stored.

mod certificates;
mod escalation;
mod expressions;
pub mod handled;
mod limit_ranger;
mod lookup;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod pods;
mod policies;
mod quota;
mod request;
mod rounds;
mod service_account;
mod storage;
mod versions;
mod webhooks;

pub use policies::check_types;
pub use request::{AsOptions, Operation, Request};

use crate::metrics::Step;
use crate::webhook::Webhooks;
use async_trait::async_trait;
use meta::ApiError;
use serde_json::Value;
use std::sync::Arc;

/// When a plugin acts. One that would have nothing to say is not asked, which is most of them most of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    Mutates,
    Validates,
    MutatesAndValidates,
    /// Takes something for the object, and so must see it only once and at the end, when nobody else changes it.
    Takes,
}

#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// As upstream names it (`LimitRanger`).
    fn name(&self) -> &'static str;

    fn acts(&self) -> Acts;

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

/// The plugins by what they do, in order.
#[derive(Clone, Default)]
pub struct Admission {
    mutating: Vec<Arc<dyn Plugin>>,
    taking: Vec<Arc<dyn Plugin>>,
    validating: Vec<Arc<dyn Plugin>>,
}

impl Admission {
    pub fn new(plugins: &[Arc<dyn Plugin>]) -> Self {
        let acting = |when: &[Acts]| plugins.iter().filter(|p| when.contains(&p.acts())).cloned().collect();
        Self {
            mutating: acting(&[Acts::Mutates, Acts::MutatesAndValidates]),
            taking: acting(&[Acts::Takes]),
            validating: acting(&[Acts::Validates, Acts::MutatesAndValidates]),
        }
    }

    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let timer = request.server.inner.metrics.admission.begin(Step::Admit, request.operation);
        let outcome = self.mutate_all(request, object, old).await;
        timer.end(outcome.is_err());
        outcome
    }

    async fn mutate_all(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        self.round(request, object, old).await?;
        if request.rounds.begin_again() {
            self.round(request, object, old).await?;
        }
        Ok(())
    }

    /// What the object takes, or gives back, once it has its name and nobody changes it any more.
    pub async fn take(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        for plugin in &self.taking {
            plugin.mutate(request, object, old).await?;
        }
        Ok(())
    }

    async fn round(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let mut timer = request.server.inner.metrics.admission.begin(Step::Admit, request.operation);
        for plugin in &self.mutating {
            let outcome = plugin.mutate(request, object, old).await;
            timer.plugin(plugin.name(), outcome.is_err());
            outcome?;
        }
        Ok(())
    }

    pub async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let mut timer = request.server.inner.metrics.admission.begin(Step::Validate, request.operation);
        let mut all = Ok(());
        for plugin in &self.validating {
            all = plugin.validate(request, object, old).await;
            timer.plugin(plugin.name(), all.is_err());
            if all.is_err() {
                break;
            }
        }
        timer.end(all.is_err());
        all
    }
}

/// The plugins that come with the server, in upstream's order: what is built in, what objects of the API add, and last
/// what counts. Addresses are given when nobody changes the object any more.
pub fn standard(config: &crate::server::Config, webhooks: &Arc<Webhooks>) -> Result<Admission, crate::allocate::BadRange> {
    Ok(Admission::new(&[
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
        Arc::new(certificates::CertificateApproval),
        Arc::new(certificates::CertificateSigning),
        Arc::new(certificates::CertificateSubjectRestriction),
        Arc::new(storage::DefaultIngressClass),
        Arc::new(escalation::Escalation),
        Arc::new(policies::MutatingPolicies::default()),
        Arc::new(webhooks::Mutating::new(webhooks.clone())),
        Arc::new(policies::ValidatingPolicies::default()),
        Arc::new(webhooks::Validating::new(webhooks.clone())),
        Arc::new(crate::allocate::Services::new(&config.service_cidr, config.node_port_range.clone())?),
        Arc::new(quota::ResourceQuota::default()),
    ]))
}

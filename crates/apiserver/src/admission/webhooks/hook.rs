//! The webhooks that configurations name, kept parsed.

use super::super::expressions::Conditions;
use super::super::matching::{Criteria, texts};
use crate::objects::Object;
use crate::server::ApiServer;
use crate::webhook::Endpoint;
use kinds::admissionregistration::expressions::Compiler;
use meta::{GroupResource, value};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

pub struct Hook {
    /// The name of its configuration.
    pub configuration: String,
    pub name: String,
    /// Tells it from all others.
    pub id: String,
    pub criteria: Criteria,
    pub conditions: Conditions,
    pub endpoint: Option<Endpoint>,
    pub ignores_failure: bool,
    pub reinvocable: bool,
    /// It may be asked though nothing will be written.
    pub dry_runs: bool,
    pub timeout: Duration,
    /// Of `AdmissionReview`, as it prefers them.
    pub versions: Vec<String>,
}

impl Hook {
    fn parse(configuration: &str, webhook: &Value) -> Self {
        let text = |key: &str| value::text(webhook, &[key]);
        let name = text("name").to_string();
        let seconds = value::int(webhook, &["timeoutSeconds"]).and_then(|s| u64::try_from(s).ok()).unwrap_or(10).clamp(1, 30);
        Self {
            id: format!("{configuration}/{name}"),
            configuration: configuration.to_string(),
            name,
            criteria: Criteria::parse(webhook, "rules", ""),
            conditions: Conditions::parse(webhook, &Compiler::plain()),
            endpoint: webhook.get("clientConfig").and_then(Endpoint::parse),
            ignores_failure: text("failurePolicy") == "Ignore",
            reinvocable: text("reinvocationPolicy") == "IfNeeded",
            dry_runs: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            timeout: Duration::from_secs(seconds),
            versions: texts(webhook, "admissionReviewVersions"),
        }
    }
}

type Parsed = Vec<(Arc<Object>, Vec<Arc<Hook>>)>;

/// All webhooks of one kind of configuration, by the configurations' names and then in their order.
pub struct Hooks {
    resource: GroupResource,
    known: Mutex<(Parsed, Arc<Vec<Arc<Hook>>>)>,
}

impl Hooks {
    pub fn new(resource: &str) -> Self {
        Self { resource: GroupResource::new("admissionregistration.k8s.io", resource), known: Mutex::default() }
    }

    pub fn current(&self, server: &ApiServer) -> Arc<Vec<Arc<Hook>>> {
        let now = server.objects().list(&self.resource, None);
        let mut known = self.known.lock();
        let same = known.0.len() == now.len() && known.0.iter().zip(&now).all(|((k, _), n)| Arc::ptr_eq(k, n));
        if !same {
            let parsed: Parsed = now.into_iter().map(|object| (object.clone(), parse(&known.0, &object))).collect();
            let all = parsed.iter().flat_map(|(_, hooks)| hooks.iter().cloned()).collect();
            *known = (parsed, Arc::new(all));
        }
        known.1.clone()
    }
}

fn parse(known: &Parsed, object: &Arc<Object>) -> Vec<Arc<Hook>> {
    if let Some((_, hooks)) = known.iter().find(|(k, _)| Arc::ptr_eq(k, object)) {
        return hooks.clone();
    }
    let tree = object.value();
    value::items(&tree, &["webhooks"]).iter().map(|w| Arc::new(Hook::parse(object.name(), w))).collect()
}

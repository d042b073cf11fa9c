//! `MutatingWebhookConfiguration` and `ValidatingWebhookConfiguration`: asks whom they name, before a write.

mod call;
mod hook;
mod review;

pub use review::user;

use super::expressions::Seen;
use super::matching::{Asked, Match};
use super::rounds::Which;
use super::{Acts, Plugin, Request, versions};
use crate::metrics::Answered;
use crate::webhook::Webhooks;
use async_trait::async_trait;
use call::Failure;
use hook::{Hook, Hooks};
use meta::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Those who decide about writes are not asked about themselves.
fn exempt(request: &Request<'_>) -> bool {
    request.kind.group == "admissionregistration.k8s.io"
}

pub struct Mutating {
    hooks: Hooks,
    webhooks: Arc<Webhooks>,
}

pub struct Validating {
    hooks: Hooks,
    webhooks: Arc<Webhooks>,
}

/// Whether a webhook is to be asked, and about which form of the object.
async fn applies(hook: &Hook, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<Option<(Match, Shown)>, ApiError> {
    let asked = Asked::new(request, object, old);
    let Some(found) = asked.matches(&hook.criteria)? else { return Ok(None) };
    let object = asked.object.cloned();
    let shown = Shown { object: versions::to(request, &found, object).await?, old: versions::to(request, &found, old.cloned()).await? };
    if !hook.conditions.is_empty() {
        let seen = Seen::new(request, &found);
        match hook.conditions.hold(&seen.variables(shown.object.as_ref(), shown.old.as_ref(), None)) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(_) if hook.ignores_failure => return Ok(None),
            Err(why) => return Err(ApiError::forbidden(&request.resource.group_resource, request.given_name(), &why)),
        }
    }
    Ok(Some((found, shown)))
}

/// The object as one webhook sees it.
struct Shown {
    object: Option<Value>,
    old: Option<Value>,
}

fn observe(request: &Request<'_>, hook: &Hook, ty: &str, failure: Option<&Failure>, began: Instant) {
    let answered = failure.map_or(Answered::Yes, |failure| failure.answered(hook));
    request.server.inner.metrics.deciders.webhook(&hook.name, ty, request.operation, answered, began.elapsed());
}

impl Mutating {
    pub fn new(webhooks: Arc<Webhooks>) -> Self {
        Self { hooks: Hooks::new("mutatingwebhookconfigurations"), webhooks }
    }

    /// Whether the webhook changed the object.
    async fn one(&self, hook: &Hook, request: &Request<'_>, found: &Match, shown: Shown, object: &mut Value) -> Result<bool, Failure> {
        let response = call::ask(&self.webhooks, hook, request, found, &shown, true).await?;
        let Some(patch) = response.patch.filter(|p| p.as_array().is_none_or(|p| !p.is_empty())) else { return Ok(false) };
        let Some(before) = shown.object else {
            let why =
                format!("admission webhook {:?} attempted to modify the object, which is not supported for this operation", hook.name);
            return Err(Failure::Server(ApiError::internal(why)));
        };
        let internal = |e: &dyn std::fmt::Display| Failure::Server(ApiError::internal(e));
        let patched = meta::patch::json::apply(before.clone(), &patch).map_err(|e| internal(&e))?;
        let after = versions::normal(request, found, &before, patched).map_err(Failure::Server)?;
        let changed = after != before;
        if changed {
            *object = versions::from(request, found, after).await.map_err(Failure::Server)?;
        }
        Ok(changed)
    }
}

#[async_trait]
impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let hooks = self.hooks.current(request.server);
        if hooks.is_empty() || exempt(request) {
            return Ok(());
        }
        request.rounds.enter(Which::Webhooks, object);
        let round = u8::from(request.rounds.again());
        let mut asked_any = false;
        for (index, hook) in hooks.iter().enumerate() {
            let Some((found, shown)) = applies(hook, request, object, old).await? else { continue };
            if !request.rounds.runs(Which::Webhooks, &hook.id) {
                continue;
            }
            asked_any = true;
            let began = Instant::now();
            let result = self.one(hook, request, &found, shown, object).await;
            observe(request, hook, "admit", result.as_ref().err(), began);
            let changed = matches!(result, Ok(true));
            request.rounds.ran(Which::Webhooks, &hook.id, changed, hook.reinvocable);
            let told = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed});
            request.warnings.annotate(format!("mutation.webhook.admission.k8s.io/round_{round}_index_{index}"), told.to_string());
            match result {
                Ok(_) => {}
                Err(Failure::Call(_, why)) if hook.ignores_failure => {
                    tracing::warn!(webhook = %hook.name, error = %why, "a webhook could not be asked; it is passed over");
                    let key = format!("failed-open.mutation.webhook.admission.k8s.io/round_{round}_index_{index}");
                    request.warnings.annotate(key, hook.name.as_str());
                }
                Err(failure) => return Err(failure.into_error(&hook.name)),
            }
        }
        if asked_any {
            request.rounds.leave(Which::Webhooks, object);
        }
        Ok(())
    }
}

impl Validating {
    pub fn new(webhooks: Arc<Webhooks>) -> Self {
        Self { hooks: Hooks::new("validatingwebhookconfigurations"), webhooks }
    }
}

#[async_trait]
impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    /// All at once; of several that refuse, the first in their order is told.
    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let hooks = self.hooks.current(request.server);
        if hooks.is_empty() || exempt(request) {
            return Ok(());
        }
        let mut calls = Vec::new();
        for hook in hooks.iter() {
            if let Some((found, shown)) = applies(hook, request, object, old).await? {
                calls.push((hook, found, shown));
            }
        }
        let ask = async |hook: &Hook, found: &Match, shown: &Shown| {
            let began = Instant::now();
            let answer = call::ask(&self.webhooks, hook, request, found, shown, false).await;
            observe(request, hook, "validating", answer.as_ref().err(), began);
            answer
        };
        let answers = futures::future::join_all(calls.iter().map(|(hook, found, shown)| ask(hook, found, shown))).await;
        let mut refused = None;
        for (index, ((hook, ..), answer)) in calls.iter().zip(answers).enumerate() {
            match answer {
                Ok(_) => {}
                Err(Failure::Call(_, why)) if hook.ignores_failure => {
                    tracing::warn!(webhook = %hook.name, error = %why, "a webhook could not be asked; it is passed over");
                    let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
                    request.warnings.annotate(key, hook.name.as_str());
                }
                Err(failure) => refused = refused.or(Some(failure.into_error(&hook.name))),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

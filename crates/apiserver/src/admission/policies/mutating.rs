//! Policies that change what is written.

use super::super::expressions::composed;
use super::super::rounds::Which;
use super::super::{Acts, Operation, Plugin, Request, versions};
use super::policy::Policies;
use super::{Invocation, Versioned, excluded, forbidden, invocations, mutation};
use async_trait::async_trait;
use meta::ApiError;
use meta::error::Cause;
use meta::value;
use serde_json::Value;

pub struct MutatingPolicies(Policies);

impl Default for MutatingPolicies {
    fn default() -> Self {
        Self(Policies::new("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"))
    }
}

#[async_trait]
impl Plugin for MutatingPolicies {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let policies = self.0.current(request.server);
        if policies.is_empty() || excluded(request) {
            return Ok(());
        }
        let (invocations, wrong) = invocations(&policies, request, object, old).await;
        let mut errors: Vec<String> = Vec::new();
        for wrong in wrong.into_iter().filter(|w| !w.policy.ignores_failure) {
            errors.push(match wrong.binding {
                Some(binding) => denied(&wrong.policy.name, &binding.name, &wrong.message),
                None => format!("policy {:?} denied request: {}", wrong.policy.name, wrong.message),
            });
        }
        if !invocations.is_empty() {
            request.rounds.enter(Which::Policies, object);
        }
        for invocation in &invocations {
            for params in &invocation.params {
                if let Err(why) = run(invocation, params.as_ref(), request, object, old).await?
                    && !invocation.policy.ignores_failure
                {
                    errors.push(denied(&invocation.policy.name, &invocation.binding.name, &why));
                }
            }
        }
        if !invocations.is_empty() {
            request.rounds.leave(Which::Policies, object);
        }
        let Some(first) = errors.first() else { return Ok(()) };
        let mut error = forbidden(request, object, "admission request denied by policy");
        (error.message, error.reason) = (first.clone(), "Invalid".into());
        if let Some(details) = &mut error.details {
            let cause = |message: &String| Cause { reason: String::new(), message: message.clone(), field: String::new() };
            details.causes.extend(errors.iter().map(cause));
        }
        Err(error)
    }
}

fn denied(policy: &str, binding: &str, why: &str) -> String {
    format!("policy '{policy}' with binding '{binding}' denied request: {why}")
}

/// The inner error is the policy's, which its failure policy may pass over; the outer one ends the request.
async fn run(
    invocation: &Invocation,
    params: Option<&Value>,
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Result<(), String>, ApiError> {
    let (policy, found) = (&invocation.policy, &invocation.found);
    let mut versioned = Versioned::of(request, found, object, old).await?;
    let conditions = policy.conditions.hold(&versioned.seen.variables(versioned.object.as_ref(), versioned.old.as_ref(), params));
    match conditions {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(())),
        Err(why) => return Ok(Err(why)),
    }
    let of = |path: &[&str]| params.map_or("", |p| value::text(p, path)).to_string();
    let (namespace, name) = (of(&["metadata", "namespace"]), of(&["metadata", "name"]));
    let key = format!("{}/{}/{namespace}/{name}", policy.name, invocation.binding.name);
    if !request.rounds.runs(Which::Policies, &key) || request.operation == Operation::Delete {
        return Ok(Ok(()));
    }
    let Some(schema) = versions::kind(request, found).map(|k| k.schema()) else {
        let kind = &found.kind;
        return Err(ApiError::unavailable(format!(
            "Resource kind {}, Kind={} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available.",
            kind.group_version(),
            kind.kind
        )));
    };
    let before = versioned.object.clone();
    let mut failure = None;
    for step in &policy.mutations {
        let Some(current) = versioned.object.take() else { continue };
        let made = {
            let variables = composed(&policy.variables, versioned.seen.variables(Some(&current), versioned.old.as_ref(), params));
            mutation::mutate(step, &current, &schema, &variables)
        };
        match made {
            Ok(made) => versioned.object = Some(versions::normal(request, found, &current, made)?),
            Err(why) => {
                failure = failure.or(Some(why));
                versioned.object = Some(current);
            }
        }
    }
    let changed = versioned.object != before;
    request.rounds.ran(Which::Policies, &key, changed, policy.reinvocable);
    if let (true, Some(after)) = (changed, versioned.object) {
        *object = versions::from(request, found, after).await?;
    }
    Ok(failure.map_or(Ok(()), Err))
}

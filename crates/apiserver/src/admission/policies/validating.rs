//! Policies that say no, warn, or leave a note.

use super::super::expressions::{budget, composed};
use super::super::{Acts, Plugin, Request};
use super::policy::{Binding, Policies, Policy, Validation};
use super::{Versioned, excluded, forbidden, invocations};
use async_trait::async_trait;
use cel::{Budget, Variables};
use meta::ApiError;
use meta::error::Cause;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MESSAGE_BYTES: usize = 5 << 10;
const ANNOTATION_BYTES: usize = 10 << 10;
const OUT_OF_BUDGET: &str = "validation failed due to running out of cost budget, no further validation rules will be run";

pub struct ValidatingPolicies(Policies);

impl Default for ValidatingPolicies {
    fn default() -> Self {
        Self(Policies::new("validatingadmissionpolicies", "validatingadmissionpolicybindings"))
    }
}

/// A no, and by which of the policy's validations.
struct Denial {
    index: usize,
    message: String,
    reason: String,
    /// The validation itself went wrong.
    error: &'static str,
    took: Duration,
}

/// What one evaluation of a policy comes to.
#[derive(Default)]
struct Outcome {
    denials: Vec<Denial>,
    /// What went wrong and is passed over.
    passed: Vec<(&'static str, Duration)>,
    annotations: Vec<(String, String)>,
    /// Annotations that could not be made deny whatever the binding's actions are.
    broken: Vec<String>,
}

impl Outcome {
    fn fail(&mut self, policy: &Policy, index: usize, message: String, took: Duration) {
        let error = match message.as_str() {
            m if m.starts_with("compilation") => "compile_error",
            OUT_OF_BUDGET => "out_of_budget",
            _ => "invalid_error",
        };
        if policy.ignores_failure {
            self.passed.push((error, took));
        } else {
            self.denials.push(Denial { index, message, reason: String::new(), error, took });
        }
    }
}

#[async_trait]
impl Plugin for ValidatingPolicies {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let policies = self.0.current(request.server);
        if policies.is_empty() || excluded(request) {
            return Ok(());
        }
        let (invocations, wrong) = invocations(&policies, request, object, old).await;
        let mut denied: Vec<(String, String)> = Vec::new();
        for wrong in wrong.into_iter().filter(|w| !w.policy.ignores_failure) {
            denied.push((told(&wrong.policy, wrong.binding.as_deref(), &wrong.message), String::new()));
        }
        let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for invocation in &invocations {
            let (policy, binding) = (&invocation.policy, &invocation.binding);
            let versioned = match Versioned::of(request, &invocation.found, object, old).await {
                Ok(versioned) => versioned,
                Err(_) if policy.ignores_failure => continue,
                Err(error) => {
                    let why = format!("failed to configure binding: failed to convert object version: {}", error.message);
                    denied.push((told(policy, Some(binding), &why), String::new()));
                    continue;
                }
            };
            for params in &invocation.params {
                let outcome = evaluate(policy, &versioned, params.as_ref());
                for (error, took) in outcome.passed {
                    request.server.inner.metrics.deciders.policy(&policy.name, &binding.name, error, "allow", took);
                }
                for denial in outcome.denials {
                    act(request, policy, binding, denial, &mut denied);
                }
                denied.extend(outcome.broken.iter().map(|why| (told(policy, Some(binding), why), String::new())));
                for (key, text) in outcome.annotations {
                    let all = notes.entry(format!("{}/{key}", policy.name)).or_default();
                    if !all.contains(&text) {
                        all.push(text);
                    }
                }
            }
        }
        for (key, texts) in notes {
            request.warnings.annotate(key, texts.join(", "));
        }
        let Some((message, reason)) = denied.into_iter().next() else { return Ok(()) };
        let mut error = forbidden(request, object, &message);
        (error.code, error.reason) = match reason.as_str() {
            "Unauthorized" => (401, "Unauthorized".into()),
            "Forbidden" => (403, "Forbidden".into()),
            "RequestEntityTooLarge" => (413, "RequestEntityTooLarge".into()),
            _ => (422, "Invalid".into()),
        };
        if let Some(details) = &mut error.details {
            details.causes.push(Cause { reason: String::new(), message, field: String::new() });
        }
        Err(error)
    }
}

fn told(policy: &Policy, binding: Option<&Binding>, message: &str) -> String {
    let binding = binding.map_or_else(String::new, |b| format!(" with binding '{}'", b.name));
    format!("ValidatingAdmissionPolicy '{}'{binding} denied request: {message}", policy.name)
}

/// Does what the binding says is to be done about a denial.
fn act(request: &Request<'_>, policy: &Policy, binding: &Binding, denial: Denial, denied: &mut Vec<(String, String)>) {
    for action in &binding.actions {
        let word = match action.as_str() {
            "Deny" => {
                denied.push((told(policy, Some(binding), &denial.message), denial.reason.clone()));
                "deny"
            }
            "Warn" => {
                request.warnings.add(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                    policy.name, binding.name, denial.message
                ));
                "warn"
            }
            _ => {
                let failure = json!([{
                    "message": denial.message, "policy": policy.name, "binding": binding.name,
                    "expressionIndex": denial.index, "validationActions": binding.actions,
                }]);
                request.warnings.annotate("validation.policy.admission.k8s.io/validation_failure", failure.to_string());
                "audit"
            }
        };
        request.server.inner.metrics.deciders.policy(&policy.name, &binding.name, denial.error, word, denial.took);
    }
}

fn evaluate(policy: &Policy, versioned: &Versioned, params: Option<&Value>) -> Outcome {
    let mut outcome = Outcome::default();
    let began = Instant::now();
    let plain = versioned.seen.variables(versioned.object.as_ref(), versioned.old.as_ref(), params);
    match policy.conditions.hold(&plain) {
        Ok(true) => {}
        Ok(false) => return outcome,
        Err(why) => {
            outcome.fail(policy, 0, why, began.elapsed());
            return outcome;
        }
    }
    let variables = composed(&policy.variables, plain);
    let mut left = budget();
    for (index, validation) in policy.validations.iter().enumerate() {
        let began = Instant::now();
        match validation.expression.evaluate(&variables, &mut left) {
            Ok(cel::Value::Bool(true)) => {}
            Ok(_) => {
                let message = message(validation, &variables, &mut left);
                outcome.denials.push(Denial {
                    index,
                    message,
                    reason: validation.reason.clone(),
                    error: "no_error",
                    took: began.elapsed(),
                });
            }
            Err(why) if why == OUT_OF_BUDGET => {
                outcome.denials.clear();
                outcome.fail(policy, index, why, began.elapsed());
                return outcome;
            }
            Err(why) => outcome.fail(policy, index, why, began.elapsed()),
        }
    }
    let mut left = budget();
    for (key, expression) in &policy.annotations {
        match expression.evaluate(&variables, &mut left) {
            Ok(cel::Value::String(text)) if !text.as_str().trim().is_empty() => {
                outcome.annotations.push((key.clone(), cut(text.as_str().trim(), ANNOTATION_BYTES).to_string()));
            }
            Ok(_) => {}
            Err(_) if policy.ignores_failure => {}
            Err(why) => outcome.broken.push(why),
        }
    }
    outcome
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    &text[..end]
}

/// From the message's expression, else the message, else the expression itself.
fn message<'a>(validation: &'a Validation, variables: &Variables<'a>, left: &mut Budget) -> String {
    if let Some(expression) = &validation.message_expression
        && let Ok(cel::Value::String(text)) = expression.evaluate(variables, left)
    {
        let text = text.as_str().trim();
        if !text.is_empty() && text.len() <= MESSAGE_BYTES && !text.contains('\n') {
            return text.to_string();
        }
    }
    if validation.message.is_empty() {
        format!("failed expression: {}", validation.expression.source.trim())
    } else {
        validation.message.clone()
    }
}

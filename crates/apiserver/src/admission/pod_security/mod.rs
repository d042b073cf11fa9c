//! PodSecurity: what the labels of a namespace let its pods do.

mod baseline;
mod policy;
mod restricted;

use super::{Acts, Operation, Plugin, Request};
use async_trait::async_trait;
use meta::{ApiError, value};
use policy::{Level, Policy, Standard};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many pods of a namespace are looked at when its level changes.
const MOST_PODS: usize = 3000;

/// What was found wrong, in upstream's words and order.
#[derive(Default)]
pub struct Found(Vec<(&'static str, String)>);

impl Found {
    pub fn add(&mut self, reason: &'static str, detail: String) {
        self.0.push((reason, detail));
    }

    fn text(&self) -> String {
        self.0.iter().map(|(reason, detail)| format!("{reason} ({detail})")).collect::<Vec<_>>().join(", ")
    }
}

/// None if the pod (or template) keeps to the standard.
fn evaluate(standard: &Standard, pod: &Value) -> Option<Found> {
    let mut found = Found::default();
    if standard.level >= Level::Baseline {
        baseline::check(pod, standard.level == Level::Restricted, standard.minor, &mut found);
    }
    if standard.level == Level::Restricted {
        restricted::check(pod, &mut found);
    }
    (!found.0.is_empty()).then_some(found)
}

/// What this plugin's audit annotations begin with.
const ANNOTATION: &str = "pod-security.kubernetes.io/";

pub struct PodSecurity;

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        if request.is("", "namespaces") {
            return namespace(request, object, old);
        }
        if request.of("", "pods") {
            let part = request.attributes.subresource.as_str();
            let written = matches!(part, "" | "ephemeralcontainers" | "resize");
            return if written && old.is_none_or(|o| matters(object, o)) { pod(request, object) } else { Ok(()) };
        }
        if request.attributes.subresource.is_empty()
            && let Some(template) = template(request, object)
            && let Some(policy) = policy_of(request)
        {
            warn(request, &policy, &template);
        }
        Ok(())
    }
}

/// Neither level looks at other parts of a pod.
fn matters(new: &Value, old: &Value) -> bool {
    let part = |pod: &Value, path: &[&str]| value::at(pod, path).cloned().unwrap_or_default();
    part(new, &["spec"]) != part(old, &["spec"]) || part(new, &["metadata", "annotations"]) != part(old, &["metadata", "annotations"])
}

fn policy_of(request: &Request<'_>) -> Option<Policy> {
    let namespace = request.object("", "namespaces", "", &request.attributes.namespace)?;
    // What was stored before labels were checked is taken at its strictest.
    Some(Policy::of(|key| namespace.label(key)).0)
}

fn pod(request: &Request<'_>, pod: &Value) -> Result<(), ApiError> {
    let Some(policy) = policy_of(request) else { return Ok(()) };
    if request.server.inner.audit.is_some() {
        request.warnings.annotate(format!("{ANNOTATION}enforce-policy"), policy.enforce.to_string());
    }
    if let Some(found) = evaluate(&policy.enforce, pod) {
        return Err(request.forbidden(format!("violates PodSecurity \"{}\": {}", policy.enforce, found.text())));
    }
    warn(request, &policy, pod);
    Ok(())
}

fn warn(request: &Request<'_>, policy: &Policy, pod: &Value) {
    if request.server.inner.audit.is_some()
        && let Some(found) = evaluate(&policy.audit, pod)
    {
        let violations = format!("would violate PodSecurity \"{}\": {}", policy.audit, found.text());
        request.warnings.annotate(format!("{ANNOTATION}audit-violations"), violations);
    }
    if let Some(found) = evaluate(&policy.warn, pod) {
        request.warnings.add(format!("would violate PodSecurity \"{}\": {}", policy.warn, found.text()));
    }
}

/// The pod that a workload makes.
fn template(request: &Request<'_>, object: &Value) -> Option<Value> {
    let workload = [("apps", "deployments"), ("apps", "replicasets"), ("apps", "statefulsets"), ("apps", "daemonsets")];
    let path: &[&str] =
        if workload.iter().any(|(g, r)| request.of(g, r)) || request.of("", "replicationcontrollers") || request.of("batch", "jobs") {
            &["spec", "template"]
        } else if request.of("batch", "cronjobs") {
            &["spec", "jobTemplate", "spec", "template"]
        } else if request.of("", "podtemplates") {
            &["template"]
        } else {
            return None;
        };
    let template = value::at(object, path)?;
    Some(json!({"metadata": template.get("metadata"), "spec": template.get("spec")}))
}

fn policy_labels(namespace: &Value) -> (Policy, meta::FieldErrors) {
    Policy::of(|key| value::at(namespace, &["metadata", "labels", key]).and_then(Value::as_str))
}

/// Labels that mean nothing are refused, and a stricter level tells which pods it would not have let in.
fn namespace(request: &Request<'_>, namespace: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let (policy, errors) = policy_labels(namespace);
    let before = old.map(policy_labels);
    if !errors.is_empty() && before.as_ref().is_none_or(|(_, e)| e.is_empty()) {
        return Err(ApiError::invalid(&request.resource.group_kind, request.name, &errors));
    }
    let Some((before, _)) = before else { return Ok(()) };
    if policy.enforce == before.enforce || policy.enforce.level <= Level::Privileged {
        return Ok(());
    }
    let mut bad: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in request.values("", "pods", Some(request.name)).iter().take(MOST_PODS) {
        if let Some(found) = evaluate(&policy.enforce, pod) {
            let reasons: Vec<&str> = found.0.iter().map(|(r, _)| *r).collect();
            bad.entry(reasons.join(", ")).or_default().push(value::text(pod, &["metadata", "name"]).to_string());
        }
    }
    if !bad.is_empty() {
        let level = &policy.enforce;
        request
            .warnings
            .add(format!("existing pods in namespace \"{}\" violate the new PodSecurity enforce level \"{level}\"", request.name));
    }
    for (reasons, pods) in bad {
        let others = match pods.len() {
            1 => String::new(),
            2 => " (and 1 other pod)".into(),
            n => format!(" (and {} other pods)", n - 1),
        };
        request.warnings.add(format!("{}{others}: {reasons}", pods[0]));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

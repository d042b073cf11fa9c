//! `pods/eviction`: a delete that disruption budgets may refuse.

use crate::body::{self, Body};
use crate::conditions;
use crate::handlers::{Context, Handler};
use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use meta::error::{Cause, Details};
use meta::labels::Selector;
use meta::{ApiError, GroupResource, time, value};
use serde_json::{Value, json};

pub struct Evictions;

#[async_trait]
impl Handler for Evictions {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(body).await?;
        let (eviction, _) = crate::negotiate::decode(parts.headers.get(CONTENT_TYPE), &bytes)?;
        let (namespace, name) = (context.attributes.namespace.as_str(), context.attributes.name.as_str());
        let given = value::text(&eviction, &["metadata", "name"]);
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let pods = GroupResource::new("", "pods");
        let objects = context.server.objects();
        let pod = objects.get(&pods, namespace, name).ok_or_else(|| ApiError::not_found(&pods, name))?;
        let wanted = value::text(&eviction, &["deleteOptions", "preconditions", "uid"]);
        if !wanted.is_empty() && wanted != pod.uid() {
            return Err(ApiError::conflict(&pods, name, "Precondition failed: UID in precondition does not match UID in object meta"));
        }
        let query = crate::query::Query::of(&parts.uri);
        let dry_run =
            query.all("dryRun").any(|d| d == "All") || value::items(&eviction, &["deleteOptions", "dryRun"]).iter().any(|d| d == "All");
        let tree = pod.value();
        if !free(&tree) {
            budget(context, &tree, dry_run).await?;
        }
        if !dry_run {
            // Told before, for a Job's failure policy to know why its pod ends.
            context.server.update_status(&pods, namespace, name, |p: &mut Value| target(p, &pods, pod.uid())).await?;
            let grace = value::int(&eviction, &["deleteOptions", "gracePeriodSeconds"]);
            context.server.delete_object(&pods, namespace, name, Some(pod.uid()), grace).await?;
        }
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(crate::negotiate::output(&parts.headers, &query, false)?.respond(StatusCode::CREATED, &status))
    }
}

fn target(pod: &mut Value, pods: &GroupResource, uid: &str) -> Result<(), ApiError> {
    if value::text(pod, &["metadata", "uid"]) != uid {
        return Err(ApiError::conflict(pods, value::text(pod, &["metadata", "name"]), "the pod was replaced by another of its name"));
    }
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "observedGeneration": value::int(pod, &["metadata", "generation"]).unwrap_or(0)});
    conditions::set(pod, condition, &time::now());
    Ok(())
}

fn ready(pod: &Value) -> bool {
    let ready = |c: &Value| value::text(c, &["type"]) == "Ready" && value::text(c, &["status"]) == "True";
    value::items(pod, &["status", "conditions"]).iter().any(ready)
}

/// Nothing is disrupted by its going.
fn free(pod: &Value) -> bool {
    matches!(value::text(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending")
        || value::at(pod, &["metadata", "deletionTimestamp"]).is_some()
}

async fn budget(context: &Context, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    let namespace = context.attributes.namespace.as_str();
    let budgets = GroupResource::new("policy", "poddisruptionbudgets");
    let labels = value::at(pod, &["metadata", "labels"]).cloned().unwrap_or_default();
    let covers = |b: &Value| {
        let selector = value::at(b, &["spec", "selector"]);
        selector.is_some_and(|s| Selector::from_value(s).is_ok_and(|s| s.matches_labels(&labels)))
    };
    let all = context.server.objects().list(&budgets, Some(namespace));
    let matching: Vec<Value> = all.iter().map(|b| b.value()).filter(covers).collect();
    let [one] = matching.as_slice() else {
        if matching.is_empty() {
            return Ok(());
        }
        return Err(ApiError::internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
    };
    let name = value::text(one, &["metadata", "name"]).to_string();
    let healthy =
        |b: &Value| (value::int(b, &["status", "currentHealthy"]).unwrap_or(0), value::int(b, &["status", "desiredHealthy"]).unwrap_or(0));
    if !ready(pod) {
        let (current, desired) = healthy(one);
        let always = value::text(one, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
        if always || (current >= desired && desired > 0) {
            return Ok(());
        }
    }
    if dry_run {
        return take(&mut one.clone(), &name, &context.attributes.name);
    }
    let pod_name = context.attributes.name.clone();
    context.server.update_status(&budgets, namespace, &name, |b: &mut Value| take(b, &name, &pod_name)).await.map(|_| ())
}

/// Spends one of the budget's disruptions.
fn take(budget: &mut Value, name: &str, pod: &str) -> Result<(), ApiError> {
    let observed = value::int(budget, &["status", "observedGeneration"]).unwrap_or(0);
    if observed < value::int(budget, &["metadata", "generation"]).unwrap_or(0) {
        let mut error = refused(format!("The disruption budget {name} is still being processed by the server."));
        if let Some(details) = error.details.as_mut() {
            details.retry_after_seconds = 10;
        }
        return Err(error);
    }
    let allowed = value::int(budget, &["status", "disruptionsAllowed"]).unwrap_or(0);
    if allowed < 0 {
        return Err(ApiError::new(403, "Forbidden", "pdb disruptions allowed is negative"));
    }
    if allowed == 0 {
        let number = |f| value::int(budget, &["status", f]).unwrap_or(0);
        let (desired, current) = (number("desiredHealthy"), number("currentHealthy"));
        return Err(refused(format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")));
    }
    value::set(budget, &["status", "disruptionsAllowed"], allowed - 1);
    value::set(budget, &["status", "disruptedPods", pod], time::now());
    Ok(())
}

fn refused(message: String) -> ApiError {
    let mut error = ApiError::new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = Cause { reason: "DisruptionBudget".into(), message, field: String::new() };
    error.details = Some(Box::new(Details { causes: vec![cause], ..Details::default() }));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_then_refuses() {
        let mut budget = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 1, "currentHealthy": 2}});
        take(&mut budget, "b", "p").unwrap();
        assert!(budget["status"]["disruptedPods"]["p"].is_string());
        let error = take(&mut budget, "b", "q").unwrap_err();
        assert_eq!((error.code, error.details.unwrap().causes[0].reason.as_str()), (429, "DisruptionBudget"));
    }
}

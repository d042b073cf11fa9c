//! ResourceQuota: what a write uses is counted against the quotas of its namespace before it is stored. The
//! quota controller counts anew what goes, and what was counted here and then not stored.

mod scopes;
mod usage;

use super::{Acts, Operation, Plugin, Request};
use async_trait::async_trait;
use meta::quantity::Quantity;
use meta::{ApiError, GroupResource, value};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::Mutex;

type Amounts = BTreeMap<String, Quantity>;

const LOCKS: usize = 64;

/// One writer per namespace at a time, so that a burst does not wear out the retries of the quota's status.
pub struct ResourceQuota {
    locks: [Mutex<()>; LOCKS],
}

impl Default for ResourceQuota {
    fn default() -> Self {
        Self { locks: std::array::from_fn(|_| Mutex::new(())) }
    }
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let namespace = request.attributes.namespace.as_str();
        let of = &request.resource.group_resource;
        if !request.resource.namespaced() || !counts(request, of) {
            return Ok(());
        }
        let quotas = request.values("", "resourcequotas", Some(namespace));
        if quotas.is_empty() {
            return Ok(());
        }
        let delta = delta(of, object, old);
        let pod = of.group.is_empty() && of.resource == "pods";
        let mut charged = Vec::new();
        for quota in quotas.iter().filter(|q| scopes::covers(q, of, object)) {
            let hard = super::limit_ranger::list(quota, &["status", "hard"]);
            let name = value::text(quota, &["metadata", "name"]);
            if pod && let Some(missing) = usage::unstated(object, &hard) {
                return Err(request.forbidden(format!("failed quota: {name}: {missing}")));
            }
            if delta.keys().any(|r| hard.contains_key(r)) {
                charged.push((name, quota));
            }
        }
        // Nothing is counted before every quota is known to have room.
        for (_, quota) in &charged {
            charge(quota, &delta).map_err(|why| request.forbidden(why))?;
        }
        if request.dry_run || charged.is_empty() {
            return Ok(());
        }
        request.server.settle(None).await?;
        // What is there already is not going to be stored again.
        if old.is_none() && request.object(&of.group, &of.resource, namespace, request.name).is_some() {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let _turn = self.locks[usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0)].lock().await;
        let resource = GroupResource::new("", "resourcequotas");
        for (i, (name, _)) in charged.iter().enumerate() {
            let counted = request.server.update_status(&resource, namespace, name, |quota| {
                let used = charge(quota, &delta).map_err(|why| request.forbidden(why))?;
                put(quota, &used);
                Ok(())
            });
            let Err(error) = counted.await else { continue };
            if error.reason == "NotFound" {
                continue;
            }
            let back: Amounts = delta.iter().map(|(r, q)| (r.clone(), q.negated())).collect();
            for (name, _) in &charged[..i] {
                let undone = request.server.update_status(&resource, namespace, name, |quota| {
                    if let Ok(used) = charge(quota, &back) {
                        put(quota, &used);
                    }
                    Ok(())
                });
                // The quota controller corrects what cannot be taken back here.
                undone.await.ok();
            }
            return Err(error);
        }
        Ok(())
    }
}

/// Whether the write can change what is used.
fn counts(request: &Request<'_>, of: &GroupResource) -> bool {
    if of.resource == "events" {
        return false;
    }
    let core = of.group.is_empty();
    match (request.operation, request.attributes.subresource.as_str()) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => core && matches!(of.resource.as_ref(), "services" | "persistentvolumeclaims"),
        (Operation::Update, "resize") => core && of.resource == "pods",
        _ => false,
    }
}

fn delta(of: &GroupResource, object: &Value, old: Option<&Value>) -> Amounts {
    let mut delta = usage::usage(of, object);
    for (resource, q) in old.map(|o| usage::usage(of, o)).unwrap_or_default() {
        delta.entry(resource).or_default().sub(&q);
    }
    delta.retain(|_, q| !q.is_zero());
    delta
}

fn put(quota: &mut Value, used: &Amounts) {
    for (resource, q) in used {
        value::set(quota, &["status", "used", resource], q.to_string());
    }
}

fn show(amounts: &Amounts, which: &[&String]) -> String {
    which.iter().map(|r| format!("{r}={}", amounts.get(*r).copied().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

/// What is used of the limited resources with `delta` added, or why that is too much. Giving back is always allowed.
fn charge(quota: &Value, delta: &Amounts) -> Result<Amounts, String> {
    let name = value::text(quota, &["metadata", "name"]);
    let hard = super::limit_ranger::list(quota, &["status", "hard"]);
    let used = super::limit_ranger::list(quota, &["status", "used"]);
    let limited: Vec<&String> = delta.keys().filter(|r| hard.contains_key(*r)).collect();
    let unknown: Vec<&str> = limited.iter().filter(|r| !used.contains_key(**r)).map(|r| r.as_str()).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
    }
    let mut sums = Amounts::new();
    let mut exceeded = Vec::new();
    for resource in limited {
        let mut sum = used[resource];
        sum.add(&delta[resource]);
        if delta[resource].signum() > 0 && sum > hard[resource] {
            exceeded.push(resource);
        }
        sums.insert(resource.clone(), sum.max(Quantity::ZERO));
    }
    if exceeded.is_empty() {
        return Ok(sums);
    }
    let (requested, used, limited) = (show(delta, &exceeded), show(&used, &exceeded), show(&hard, &exceeded));
    Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"))
}

#[cfg(test)]
mod tests;

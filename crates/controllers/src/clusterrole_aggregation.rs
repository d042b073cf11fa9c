//! ClusterRoles with an aggregation rule hold the rules of the roles that they select.

use crate::Context;
use crate::context::code;
use client::{Change, Informer, Key, Queue};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;

pub async fn run(context: Context) {
    let roles = context.informers.of::<ClusterRole>();
    roles.synced().await;
    let queue: Queue<Key> = Queue::new();
    let known = roles.clone();
    // Any change may concern any role that aggregates.
    context.feed(&roles, &queue, move |_: &Change<ClusterRole>| {
        let aggregating = known.list().into_iter().filter(|r| r.aggregation_rule.is_some());
        aggregating.map(|r| Key::new("", r.name_any())).collect()
    });
    let stop = context.stop.clone();
    client::run("clusterrole-aggregation", queue, 2, stop, move |key: Key| {
        let (context, roles) = (context.clone(), roles.clone());
        async move {
            let Some(role) = roles.get("", &key.name) else { return Ok(None) };
            let Some(rules) = wanted(&role, &roles) else { return Ok(None) };
            if role.rules.as_deref().unwrap_or_default() == rules {
                return Ok(None);
            }
            // Only if the role is still the one that was looked at.
            let version = role.meta().resource_version.clone();
            let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "rules": rules}));
            match context.all::<ClusterRole>().patch(&key.name, &PatchParams::default(), &patch).await {
                // A newer one is queued by itself.
                Err(error) if !matches!(code(&error), 404 | 409) => Err(error),
                _ => Ok::<_, kube::Error>(None),
            }
        }
    })
    .await;
}

/// None for roles that do not aggregate.
fn wanted(role: &ClusterRole, all: &Informer<ClusterRole>) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref().unwrap_or_default();
    let mut others: Vec<_> = all.list();
    others.sort_by_key(|r| r.name_any());
    Some(gather(selectors, &role.name_any(), others.iter().map(|r| &**r)))
}

fn gather<'a>(selectors: &[LabelSelector], own: &str, others: impl Iterator<Item = &'a ClusterRole> + Clone) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        for other in others.clone().filter(|r| r.name_any() != own && selects(selector, r.labels())) {
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    equal
        && selector.match_expressions.iter().flatten().all(|e| {
            let value = labels.get(&e.key);
            let among = || value.is_some_and(|v| e.values.iter().flatten().any(|w| w == v));
            match e.operator.as_str() {
                "In" => among(),
                "NotIn" => !among(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn rules_come_from_the_selected_roles_once() {
        let role = |name: &str, label: &str, verb: &str| -> ClusterRole {
            let object: Value = json!({"metadata": {"name": name, "labels": {"aggregate-to": label}},
                "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
            serde_json::from_value(object).unwrap()
        };
        let all = [role("a", "view", "get"), role("b", "view", "get"), role("c", "edit", "delete"), role("view", "view", "watch")];
        let selector: LabelSelector =
            serde_json::from_value(json!({"matchExpressions": [{"key": "aggregate-to", "operator": "In", "values": ["view"]}]})).unwrap();
        let rules = gather(&[selector], "view", all.iter());
        assert_eq!(rules.iter().flat_map(|r| r.verbs.clone()).collect::<Vec<_>>(), ["get"]);
    }
}

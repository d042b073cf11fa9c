//! PodDisruptionBudgets: how many of the selected pods may be evicted now. The eviction itself, which
//! uses the number up, is the API server's.

use crate::Context;
use crate::context::{if_there, itself};
use crate::pods;
use client::{EventType, Key, Queue, reference};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An eviction that has led to no deletion after this long has come to nothing.
const EVICTION: i64 = 120;

pub async fn run(context: Context) {
    let budgets = context.informers.of::<PodDisruptionBudget>();
    let all_pods = context.informers.of::<Pod>();
    tokio::join!(budgets.synced(), all_pods.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&budgets, &queue, itself);
    let candidates = budgets.clone();
    context.feed(&all_pods, &queue, move |change| {
        let mut keys = Vec::new();
        for pod in [&change.old, &change.new].into_iter().flatten() {
            let there = candidates.list_in(&pod.namespace().unwrap_or_default());
            keys.extend(there.iter().filter(|b| selected(b, pod)).map(|b| Key::of(&**b)));
        }
        keys.dedup();
        keys
    });
    let stop = context.stop.clone();
    client::run("disruption", queue, 2, stop, move |key: Key| {
        let (context, budgets, all_pods) = (context.clone(), budgets.clone(), all_pods.clone());
        async move {
            let Some(budget) = budgets.get(&key.namespace, &key.name) else { return Ok(None) };
            let pods = all_pods.list_in(&key.namespace).into_iter().filter(|p| selected(&budget, p) && !pods::finished(p)).collect();
            reconcile(&context, &budget, pods).await
        }
    })
    .await;
}

fn selected(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    budget.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some_and(|s| pods::selects(s, pod.labels()))
}

async fn reconcile(context: &Context, budget: &PodDisruptionBudget, pods: Vec<Arc<Pod>>) -> Result<Option<Duration>, kube::Error> {
    let Some(spec) = &budget.spec else { return Ok(None) };
    let now = Timestamp::now();
    let old = budget.status.clone().unwrap_or_default();
    let count = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    let expected = match (&spec.max_unavailable, &spec.min_available) {
        (Some(_), _) | (None, Some(IntOrString::String(_))) => scale(context, &pods).await?,
        _ => Ok(count),
    };
    let (desired, expected, failure) = match expected {
        Ok(expected) => (desired(spec.min_available.as_ref(), spec.max_unavailable.as_ref(), expected), expected, None),
        Err(message) => (0, 0, Some(message)),
    };
    let mut evicted: BTreeMap<String, Time> = old.disrupted_pods.clone().unwrap_or_default();
    evicted.retain(|name, at| {
        let waiting = pods.iter().any(|p| p.name_any() == *name && p.metadata.deletion_timestamp.is_none());
        waiting && now.as_second() - at.0.as_second() < EVICTION
    });
    let healthy = |p: &&Arc<Pod>| p.metadata.deletion_timestamp.is_none() && pods::ready(p) && !evicted.contains_key(&p.name_any());
    let healthy = i32::try_from(pods.iter().filter(healthy).count()).unwrap_or(i32::MAX);
    let allowed = if expected == 0 || failure.is_some() { 0 } else { (healthy - desired).max(0) };
    let (state, reason) = match (&failure, allowed) {
        (Some(_), _) => ("False", "SyncFailed"),
        (None, 0) => ("False", "InsufficientPods"),
        (None, _) => ("True", "SufficientPods"),
    };
    if let Some(message) = &failure {
        let text = format!("Failed to calculate the number of expected pods: {message}");
        context.recorder.event(&reference(budget), EventType::Warning, "CalculateExpectedPodCountFailed", text);
    }
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let since = conditions.iter().find(|c| c.type_ == "DisruptionAllowed" && c.status == state).map(|c| c.last_transition_time.clone());
    conditions.retain(|c| c.type_ != "DisruptionAllowed");
    conditions.push(Condition {
        type_: "DisruptionAllowed".into(),
        status: state.into(),
        reason: reason.into(),
        message: failure.unwrap_or_default(),
        observed_generation: budget.metadata.generation,
        last_transition_time: since.unwrap_or(Time(now)),
    });
    let again = (!evicted.is_empty()).then(|| Duration::from_secs(EVICTION.unsigned_abs()));
    let forgotten =
        old.disrupted_pods.iter().flatten().filter(|(n, _)| !evicted.contains_key(*n)).map(|(n, _)| n.clone()).collect::<Vec<_>>();
    let new = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!evicted.is_empty()).then_some(evicted),
        observed_generation: budget.metadata.generation,
        conditions: Some(conditions),
    };
    if old == new {
        return Ok(again);
    }
    let mut status = json!(new);
    for name in forgotten {
        status["disruptedPods"][name] = serde_json::Value::Null;
    }
    // On the revision it was counted on: an eviction meanwhile must not be forgotten.
    let patch = json!({"metadata": {"resourceVersion": budget.resource_version()}, "status": status});
    let api = context.api::<PodDisruptionBudget>(&budget.namespace().unwrap_or_default());
    if_there(api.patch_status(&budget.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await)?;
    Ok(again)
}

/// How many pods must stay healthy.
fn desired(min_available: Option<&IntOrString>, max_unavailable: Option<&IntOrString>, expected: i32) -> i32 {
    let value = |v: &IntOrString| match v {
        IntOrString::Int(n) => *n,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            i32::try_from((i64::from(expected) * percent + 99) / 100).unwrap_or(i32::MAX)
        }
    };
    match (max_unavailable, min_available) {
        (Some(max), _) => (expected - value(max)).max(0),
        (None, Some(min)) => value(min),
        (None, None) => 0,
    }
}

/// The sum of what the pods' controllers are to have; the inner error is for the condition.
async fn scale(context: &Context, pods: &[Arc<Pod>]) -> Result<Result<i32, String>, kube::Error> {
    let mut scales: BTreeMap<String, i32> = BTreeMap::new();
    for pod in pods {
        // A pod of its own has no scale, and adds nothing.
        let Some(owner) = pods::controller_of(&pod.metadata).filter(|o| !scales.contains_key(&o.uid)) else { continue };
        let namespace = pod.namespace().unwrap_or_default();
        let name = owner.name.as_str();
        let replicas = match owner.kind.as_str() {
            "ReplicaSet" => match context.api::<ReplicaSet>(&namespace).get_opt(name).await? {
                Some(set) => match pods::controller_of(&set.metadata).filter(|o| o.kind == "Deployment") {
                    Some(above) if scales.contains_key(&above.uid) => continue,
                    Some(above) => {
                        let deployment = context.api::<Deployment>(&namespace).get_opt(&above.name).await?;
                        scales.insert(above.uid.clone(), deployment.and_then(|d| d.spec?.replicas).unwrap_or(1));
                        continue;
                    }
                    None => set.spec.and_then(|s| s.replicas).unwrap_or(1),
                },
                None => continue,
            },
            "StatefulSet" => context.api::<StatefulSet>(&namespace).get_opt(name).await?.and_then(|s| s.spec?.replicas).unwrap_or(1),
            "ReplicationController" => {
                context.api::<ReplicationController>(&namespace).get_opt(name).await?.and_then(|s| s.spec?.replicas).unwrap_or(1)
            }
            kind => return Ok(Err(format!("{} does not implement the scale subresource", kind.to_lowercase()))),
        };
        scales.insert(owner.uid.clone(), replicas);
    }
    Ok(Ok(scales.values().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_in_favour_of_what_they_stand_for() {
        let half = IntOrString::String("50%".into());
        assert_eq!(desired(Some(&half), None, 3), 2);
        assert_eq!(desired(None, Some(&half), 3), 1);
        assert_eq!(desired(None, Some(&IntOrString::Int(5)), 3), 0);
    }
}

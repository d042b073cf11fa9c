//! What several loops ask of pods, and how they make and remove them.

use crate::Context;
use crate::expectations::Expectations;
use client::{EventType, reference};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("")
}

/// Neither finished nor on its way out.
pub fn active(pod: &Pod) -> bool {
    !finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

pub fn finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0))
}

pub fn ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// Ready for at least `min_ready` seconds.
pub fn available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| min_ready <= 0 || now.as_second() - since.as_second() >= i64::from(min_ready))
}

pub fn scheduled(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).is_some_and(|n| !n.is_empty())
}

pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    statuses.map(|s| s.restart_count).max().unwrap_or(0)
}

/// The order in which surplus pods go: the ones that are missed least first (upstream's `ActivePods`).
pub fn by_dispensability(pods: &mut [Arc<Pod>]) {
    pods.sort_by_key(|pod| {
        let cost: i64 = pod.annotations().get("controller.kubernetes.io/pod-deletion-cost").and_then(|c| c.parse().ok()).unwrap_or(0);
        let phase = match phase(pod) {
            "Pending" => 0,
            "Running" => 2,
            _ => 1,
        };
        // Ready for a shorter time goes first, so later timestamps before earlier ones.
        let ready = ready_since(pod).map_or((0, 0), |t| (1, -t.as_second()));
        let created = pod.creation_timestamp().map_or(0, |t| -t.0.as_second());
        (scheduled(pod), phase, ready.0, cost, ready.1, -i64::from(restarts(pod)), created)
    });
}

pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// The owner reference that makes `parent` the controller of what carries it.
pub fn controlled_by<K: Resource<DynamicType = ()>>(parent: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: parent.name_any(),
        uid: parent.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether labels satisfy a selector; one that cannot be read selects nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    equal
        && selector.match_expressions.iter().flatten().all(|e| {
            let value = labels.get(&e.key);
            let named = || value.is_some_and(|v| e.values.iter().flatten().any(|x| x == v));
            match e.operator.as_str() {
                "In" => named(),
                "NotIn" => !named(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

pub fn selects_nothing(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// A pod from a template, owned by `parent`.
pub fn from_template<K: Resource<DynamicType = ()>>(parent: &K, template: &PodTemplateSpec) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix(&parent.name_any())),
            namespace: parent.namespace(),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![controlled_by(parent)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// A generated name keeps its random end whatever the length of the parent's name.
pub fn prefix(name: &str) -> String {
    format!("{name}-")
}

/// Creates a pod, remembers it until the cache shows it, and says so in an event on the parent.
pub async fn create<K>(context: &Context, expectations: &Expectations, parent: &K, pod: &Pod) -> Result<Pod, kube::Error>
where
    K: Resource<DynamicType = ()>,
{
    let about: ObjectReference = reference(parent);
    let namespace = parent.namespace().unwrap_or_default();
    match context.api::<Pod>(&namespace).create(&PostParams::default(), pod).await {
        Ok(created) => {
            expectations.created(&parent.uid().unwrap_or_default(), created.uid().unwrap_or_default());
            context.recorder.event(&about, EventType::Normal, "SuccessfulCreate", format!("Created pod: {}", created.name_any()));
            Ok(created)
        }
        Err(error) => {
            // In a namespace that is going nothing more is made, and nobody needs to hear of it.
            if !crate::context::said(&error).contains("because it is being terminated") {
                context.recorder.event(
                    &about,
                    EventType::Warning,
                    "FailedCreate",
                    format!("Error creating: {}", crate::context::said(&error)),
                );
            }
            Err(error)
        }
    }
}

pub async fn delete<K>(context: &Context, expectations: &Expectations, parent: &K, pod: &Pod) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()>,
{
    let about = reference(parent);
    let uid = pod.uid().unwrap_or_default();
    let params =
        DeleteParams { preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }), ..DeleteParams::default() };
    match context.api::<Pod>(&pod.namespace().unwrap_or_default()).delete(&pod.name_any(), &params).await {
        Ok(_) => {
            expectations.deleted(&parent.uid().unwrap_or_default(), uid);
            context.recorder.event(&about, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
            Ok(())
        }
        Err(error) if matches!(crate::context::code(&error), 404 | 409) => Ok(()),
        Err(error) => {
            context.recorder.event(&about, EventType::Warning, "FailedDelete", format!("Error deleting: {}", crate::context::said(&error)));
            Err(error)
        }
    }
}

/// Makes `count` pods, in batches that double while all goes well: a quota or a webhook that refuses is
/// met once, not a thousand times (upstream's `slowStartBatch`).
pub async fn create_many<K>(context: &Context, expectations: &Expectations, parent: &K, pods: Vec<Pod>) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()>,
{
    let mut rest = pods.as_slice();
    let mut size = 1;
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        let results = futures::future::join_all(batch.iter().map(|pod| create(context, expectations, parent, pod))).await;
        results.into_iter().collect::<Result<Vec<_>, _>>()?;
        rest = later;
        size *= 2;
    }
    Ok(())
}

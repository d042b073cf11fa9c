//! Deployments: a ReplicaSet per template, and the way from the old ones to the new. `plan` decides how
//! large each may be; this is the part that reads and writes.

mod plan;
mod scaling;
mod status;

use crate::Context;
use crate::context::{code, if_there, itself, owner, said};
use crate::revision::hash;
use crate::{owned, pods};
use client::{EventType, Informer, Key, Queue, reference};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Upstream's limit to the length of the history.
const HISTORY_ROOM: usize = 2000;
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of the Deployment that say nothing about its ReplicaSets.
const NOT_INHERITED: [&str; 6] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAX, "deprecated.deployment.rollback.to"];

pub async fn run(context: Context) {
    let deployments = context.informers.of::<Deployment>();
    let sets = context.informers.of::<ReplicaSet>();
    let all_pods = context.informers.of::<Pod>();
    tokio::join!(deployments.synced(), sets.synced(), all_pods.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&deployments, &queue, itself);
    context.feed(&sets, &queue, owner("Deployment"));
    // A Recreate rollout goes on when the last old pod is gone, which shows on no ReplicaSet.
    let owners = sets.clone();
    context.feed(&all_pods, &queue, move |change| {
        if change.new.is_some() {
            return Vec::new();
        }
        let set = change.old.as_ref().and_then(|p| pods::controller_of(&p.metadata)).and_then(|o| owners.by_uid(&o.uid));
        let deployment = set.as_ref().and_then(|s| pods::controller_of(&s.metadata).map(|o| o.name.clone()));
        deployment.map(|name| Key::new(set.and_then(|s| s.namespace()).unwrap_or_default(), name)).into_iter().collect()
    });
    let stop = context.stop.clone();
    client::run("deployment", queue, 4, stop, move |key: Key| {
        let (context, deployments, sets, all_pods) = (context.clone(), deployments.clone(), sets.clone(), all_pods.clone());
        async move {
            match deployments.get(&key.namespace, &key.name) {
                Some(deployment) => reconcile(&context, &deployment, &sets, &all_pods).await,
                None => Ok(None),
            }
        }
    })
    .await;
}

async fn reconcile(
    context: &Context,
    deployment: &Deployment,
    sets: &Informer<ReplicaSet>,
    all_pods: &Informer<Pod>,
) -> Result<Option<Duration>, kube::Error> {
    let Some(spec) = &deployment.spec else { return Ok(None) };
    let namespace = deployment.namespace().unwrap_or_default();
    let api = context.api::<ReplicaSet>(&namespace);
    let claimed = owned::claim(deployment, &spec.selector, sets, &api).await?;
    if deployment.metadata.deletion_timestamp.is_some() {
        return status::write(context, deployment, None, &claimed).await;
    }
    let (mut new, mut old): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|set| same_template(set, &spec.template));
    // Of several with the same template the oldest is the one (upstream's FindNewReplicaSet).
    new.sort_by_key(|s| (s.creation_timestamp().map(|t| t.0), s.name_any()));
    old.extend(new.drain(1.min(new.len())..));
    let new = new.pop();
    let paused = spec.paused == Some(true);
    let newest = old.iter().map(|s| revision(s)).max().unwrap_or(0);
    // A paused Deployment's template does not move, but its number counts all the same.
    let scaling = paused || scaling::due(deployment, new.as_deref(), &old);
    let new = match new {
        Some(set) => Some(keep_annotated(context, deployment, set, newest + 1).await?),
        None if scaling => None,
        None => {
            let old_pods_left = plan::recreates(deployment) && old.iter().any(|s| has_pods(s, all_pods));
            if old_pods_left { None } else { create(context, deployment, &spec.template, newest + 1, &old).await? }
        }
    };
    if let Some(new) = &new {
        tell_revision(context, deployment, new).await?;
    }
    let replicas = match scaling {
        true => scaling::decide(deployment, new.as_deref(), &old),
        false => plan::decide(deployment, new.as_deref(), &old, |set| has_pods(set, all_pods)),
    };
    let mut all = old.clone();
    let mut new = new;
    for (uid, size) in replicas {
        let slot = all.iter_mut().chain(new.as_mut()).find(|s| s.uid().as_deref() == Some(&uid));
        if let Some(slot) = slot {
            *slot = scale(context, deployment, slot, size).await?;
        }
    }
    if status::complete(deployment, new.as_deref()) {
        trim(context, &all, spec.revision_history_limit.unwrap_or(10)).await?;
    }
    status::write(context, deployment, new.as_ref(), &all).await
}

/// Whether any pod of the set still runs or is on its way out.
fn has_pods(set: &ReplicaSet, all_pods: &Informer<Pod>) -> bool {
    all_pods.owned_by(&set.uid().unwrap_or_default()).iter().any(|p| !pods::finished(p))
}

fn same_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(mut own) = set.spec.as_ref().and_then(|s| s.template.clone()) else { return false };
    if let Some(labels) = own.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(HASH);
    }
    let labels = |t: &PodTemplateSpec| t.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    let annotations = |t: &PodTemplateSpec| t.metadata.as_ref().and_then(|m| m.annotations.clone()).unwrap_or_default();
    labels(&own) == labels(template) && annotations(&own) == annotations(template) && own.spec == template.spec
}

fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

fn inherited(deployment: &Deployment) -> BTreeMap<String, String> {
    deployment.annotations().iter().filter(|(k, _)| !NOT_INHERITED.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn sizes(deployment: &Deployment) -> [(String, String); 2] {
    let limits = plan::Limits::of(deployment);
    [(DESIRED.into(), limits.desired.to_string()), (MAX.into(), limits.most().to_string())]
}

async fn create(
    context: &Context,
    deployment: &Deployment,
    template: &PodTemplateSpec,
    revision: i64,
    old: &[Arc<ReplicaSet>],
) -> Result<Option<Arc<ReplicaSet>>, kube::Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let api = context.api::<ReplicaSet>(&namespace);
    let collision = deployment.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
    let hash = hash(template, collision);
    let mut template = template.clone();
    template.metadata.get_or_insert_default().labels.get_or_insert_default().insert(HASH.into(), hash.clone());
    let mut selector: LabelSelector = deployment.spec.as_ref().map(|s| s.selector.clone()).unwrap_or_default();
    selector.match_labels.get_or_insert_default().insert(HASH.into(), hash.clone());
    let mut annotations = inherited(deployment);
    annotations.insert(REVISION.into(), revision.to_string());
    annotations.extend(sizes(deployment));
    let size = plan::initial(deployment, old);
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: Some(namespace.clone()),
            labels: template.metadata.as_ref().and_then(|m| m.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![pods::controlled_by(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: deployment.spec.as_ref().and_then(|s| s.min_ready_seconds),
            selector,
            template: Some(template.clone()),
        }),
        status: None,
    };
    match api.create(&PostParams::default(), &set).await {
        Ok(created) => {
            let message = format!("Scaled up replica set {} from 0 to {size}", created.name_any());
            if size > 0 {
                context.recorder.event(&reference(deployment), EventType::Normal, "ScalingReplicaSet", message);
            }
            Ok(Some(Arc::new(created)))
        }
        Err(error) if code(&error) == 409 => {
            let Some(there) = if_there(api.get(&set.name_any()).await)? else { return Err(error) };
            let ours = pods::controller_of(&there.metadata).is_some_and(|o| Some(&o.uid) == deployment.uid().as_ref());
            let mut plain = template;
            if let Some(labels) = plain.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
                labels.remove(HASH);
            }
            if ours && same_template(&there, &plain) {
                return Ok(Some(Arc::new(there)));
            }
            // Another template has this hash: count on, and the next run takes another name.
            let patch = json!({"status": {"collisionCount": collision + 1}});
            if_there(
                context
                    .api::<Deployment>(&namespace)
                    .patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                    .await,
            )?;
            Err(error)
        }
        Err(error) => {
            let text = format!("Failed to create new replica set {:?}: {}", set.name_any(), said(&error));
            context.recorder.event(&reference(deployment), EventType::Warning, "ReplicaSetCreateError", text);
            Err(error)
        }
    }
}

/// Keeps the new set's annotations in line: its revision is the newest, its sizes are the Deployment's.
async fn keep_annotated(
    context: &Context,
    deployment: &Deployment,
    set: Arc<ReplicaSet>,
    at_least: i64,
) -> Result<Arc<ReplicaSet>, kube::Error> {
    let mut wanted = inherited(deployment);
    let before = revision(&set);
    wanted.insert(REVISION.into(), before.max(at_least).to_string());
    if before > 0 && before < at_least {
        // Rolled back to: the numbers it had are kept, as long as there is room.
        let history: Vec<String> = set.annotations().get(HISTORY).into_iter().cloned().chain([before.to_string()]).collect();
        let mut history = history.join(",");
        while history.len() > HISTORY_ROOM {
            history = history.split_once(',').map(|(_, rest)| rest.to_string()).unwrap_or_default();
        }
        wanted.insert(HISTORY.into(), history);
    }
    let min_ready = deployment.spec.as_ref().and_then(|s| s.min_ready_seconds);
    let same_min_ready = set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0) == min_ready.unwrap_or(0);
    if same_min_ready && wanted.iter().all(|(k, v)| set.annotations().get(k) == Some(v)) {
        return Ok(set);
    }
    let patch = json!({"metadata": {"annotations": wanted}, "spec": {"minReadySeconds": min_ready}});
    let api = context.api::<ReplicaSet>(&set.namespace().unwrap_or_default());
    Ok(Arc::new(api.patch(&set.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?))
}

/// The Deployment says itself which revision it is at: `kubectl rollout` and others read it there.
async fn tell_revision(context: &Context, deployment: &Deployment, new: &ReplicaSet) -> Result<(), kube::Error> {
    let Some(revision) = new.annotations().get(REVISION).filter(|r| deployment.annotations().get(REVISION) != Some(r)) else {
        return Ok(());
    };
    let patch = json!({"metadata": {"uid": deployment.uid(), "annotations": {REVISION: revision}}});
    let api = context.api::<Deployment>(&deployment.namespace().unwrap_or_default());
    if_there(api.patch(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(drop)
}

async fn scale(context: &Context, deployment: &Deployment, set: &ReplicaSet, size: i32) -> Result<Arc<ReplicaSet>, kube::Error> {
    let before = set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let annotations: BTreeMap<_, _> = sizes(deployment).into();
    // The revision makes it a decision on what was seen, not on what has come since.
    let patch = json!({"metadata": {"resourceVersion": set.resource_version(), "annotations": annotations}, "spec": {"replicas": size}});
    let api = context.api::<ReplicaSet>(&set.namespace().unwrap_or_default());
    let scaled = api.patch(&set.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    if size == before {
        return Ok(Arc::new(scaled));
    }
    let way = if size > before { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {} from {before} to {size}", set.name_any());
    context.recorder.event(&reference(deployment), EventType::Normal, "ScalingReplicaSet", message);
    Ok(Arc::new(scaled))
}

/// Removes the oldest empty sets beyond the history limit.
async fn trim(context: &Context, old: &[Arc<ReplicaSet>], limit: i32) -> Result<(), kube::Error> {
    let empty = |s: &&Arc<ReplicaSet>| {
        s.spec.as_ref().and_then(|s| s.replicas) == Some(0)
            && s.status.as_ref().is_none_or(|s| s.replicas == 0)
            && s.metadata.deletion_timestamp.is_none()
            && s.status.as_ref().and_then(|st| st.observed_generation).unwrap_or(0) >= s.metadata.generation.unwrap_or(0)
    };
    let mut unused: Vec<_> = old.iter().filter(empty).collect();
    unused.sort_by_key(|s| revision(s));
    let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for set in unused.into_iter().take(surplus) {
        let api = context.api::<ReplicaSet>(&set.namespace().unwrap_or_default());
        if_there(api.delete(&set.name_any(), &DeleteParams::background()).await)?;
    }
    Ok(())
}

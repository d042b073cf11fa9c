//! StatefulSets: pods with names and claims of their own. `plan` decides the next step.

mod plan;

use crate::Context;
use crate::context::{code, if_there, itself, owner, said};
use crate::expectations::Expectations;
use crate::{owned, pods, revision};
use client::{EventType, Informer, Key, Queue, reference};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use plan::{Member, Step, Wanted};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

pub async fn run(context: Context) {
    let sets = context.informers.of::<StatefulSet>();
    let all_pods = context.informers.of::<Pod>();
    let revisions = context.informers.of::<ControllerRevision>();
    tokio::join!(sets.synced(), all_pods.synced(), revisions.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&sets, &queue, itself);
    context.feed(&all_pods, &queue, owner("StatefulSet"));
    let expectations = Arc::new(Expectations::default());
    let stop = context.stop.clone();
    client::run("statefulset", queue, 4, stop, move |key: Key| {
        let (context, sets, all_pods, revisions, expectations) =
            (context.clone(), sets.clone(), all_pods.clone(), revisions.clone(), expectations.clone());
        async move {
            let Some(set) = sets.get(&key.namespace, &key.name) else { return Ok(None) };
            let uid = set.uid().unwrap_or_default();
            let going = |uid: &str| all_pods.by_uid(uid).is_none_or(|p| p.metadata.deletion_timestamp.is_some());
            if !expectations.met(&uid, |uid| all_pods.by_uid(uid).is_some(), going) {
                return Ok(Some(Duration::from_secs(10)));
            }
            reconcile(&context, &set, &all_pods, &revisions, &expectations).await
        }
    })
    .await;
}

async fn reconcile(
    context: &Context,
    set: &StatefulSet,
    all_pods: &Informer<Pod>,
    revisions: &Informer<ControllerRevision>,
    expectations: &Expectations,
) -> Result<Option<Duration>, kube::Error> {
    let Some(spec) = &set.spec else { return Ok(None) };
    let namespace = set.namespace().unwrap_or_default();
    let claimed = owned::claim(set, &spec.selector, all_pods, &context.api::<Pod>(&namespace)).await?;
    let members: Vec<(i32, Arc<Pod>)> = claimed.into_iter().filter_map(|p| ordinal(set, &p).map(|o| (o, p))).collect();
    let known = revision::list(set, revisions);
    let update = revision::current(context, set, &spec.template, &known).await?;
    let status = set.status.clone().unwrap_or_default();
    let current = status.current_revision.as_ref().and_then(|n| known.iter().find(|r| &r.name_any() == n)).unwrap_or(&update).clone();
    let seen = observe(set, &members, &current, &update);
    write_status(context, set, &seen).await?;
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let now = Timestamp::now();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let label = revision_name(&update);
    let view: Vec<Member> = members
        .iter()
        .map(|(ordinal, pod)| Member {
            ordinal: *ordinal,
            finished: pods::finished(pod),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            ready: pods::phase(pod) == "Running" && pods::ready(pod),
            available: pods::available(pod, min_ready, now),
            updated: pod.labels().get(revision::HASH_LABEL) == Some(&label),
        })
        .collect();
    let rolling = spec.update_strategy.as_ref().filter(|u| u.type_.as_deref() != Some("OnDelete"));
    let on_delete = spec.update_strategy.is_some() && rolling.is_none();
    let partition = rolling.and_then(|u| u.rolling_update.as_ref()).and_then(|r| r.partition).unwrap_or(0);
    let start = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
    let wanted = Wanted { start, replicas: spec.replicas.unwrap_or(1), ordered, partition: (!on_delete).then_some(partition) };
    // Below the partition, or where only deletion updates, what goes missing comes back as it was.
    let kept_below = start + if on_delete { seen.current_replicas.unwrap_or(0) } else { partition };
    for step in plan::steps(wanted, &view) {
        match step {
            Step::Create(ordinal) => {
                let of = if ordinal < kept_below { &current } else { &update };
                make(context, set, ordinal, of, expectations).await?;
            }
            Step::Replace(ordinal) | Step::Remove(ordinal) => {
                let Some((_, pod)) = members.iter().find(|(o, _)| *o == ordinal) else { continue };
                if matches!(step, Step::Replace(_)) && pods::finished(pod) {
                    let text = format!("StatefulSet {namespace}/{} is recreating failed Pod {}", set.name_any(), pod.name_any());
                    context.recorder.event(&reference(set), EventType::Warning, "RecreatingFailedPod", text);
                }
                if matches!(step, Step::Remove(_)) {
                    give_claims(context, set, ordinal, pod).await?;
                }
                pods::delete(context, expectations, set, pod).await?;
            }
        }
    }
    let mut live: BTreeSet<String> = members.iter().filter_map(|(_, p)| p.labels().get(revision::HASH_LABEL).cloned()).collect();
    live.extend([current.name_any(), update.name_any()]);
    revision::trim(context, &known, &live, spec.revision_history_limit.unwrap_or(10)).await?;
    let waiting = seen.available_replicas.unwrap_or(0) < seen.ready_replicas.unwrap_or(0);
    Ok(waiting.then(|| Duration::from_secs(u64::try_from(min_ready).unwrap_or(1).max(1))))
}

/// Pods of a StatefulSet carry the revision's whole name.
fn revision_name(revision: &ControllerRevision) -> String {
    revision.name_any()
}

fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    pod.name_any().strip_prefix(&set.name_any())?.strip_prefix('-')?.parse().ok().filter(|o| *o >= 0)
}

fn observe(set: &StatefulSet, members: &[(i32, Arc<Pod>)], current: &ControllerRevision, update: &ControllerRevision) -> StatefulSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let (now, min_ready) = (Timestamp::now(), spec.min_ready_seconds.unwrap_or(0));
    let count = |test: &dyn Fn(&Pod) -> bool| i32::try_from(members.iter().filter(|(_, p)| test(p)).count()).unwrap_or(i32::MAX);
    let of = |pod: &Pod, name: &str| {
        pod.metadata.deletion_timestamp.is_none() && pod.labels().get(revision::HASH_LABEL).is_some_and(|l| l == name)
    };
    let (current, update) = (current.name_any(), revision_name(update));
    let ready = |p: &Pod| pods::phase(p) == "Running" && pods::ready(p);
    let mut status = StatefulSetStatus {
        replicas: count(&|p| !pods::phase(p).is_empty()),
        ready_replicas: Some(count(&ready)),
        available_replicas: Some(count(&|p| ready(p) && pods::available(p, min_ready, now))),
        current_replicas: Some(count(&|p| of(p, &current))),
        updated_replicas: Some(count(&|p| of(p, &update))),
        current_revision: Some(current),
        update_revision: Some(update),
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|s| s.collision_count).or(Some(0)),
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    };
    let rolling = spec.update_strategy.as_ref().is_none_or(|u| u.type_.as_deref() != Some("OnDelete"));
    if rolling && status.updated_replicas == Some(status.replicas) && status.ready_replicas == Some(status.replicas) {
        // The rollout is over.
        status.current_revision = status.update_revision.clone();
        status.current_replicas = status.updated_replicas;
    }
    status
}

async fn write_status(context: &Context, set: &StatefulSet, status: &StatefulSetStatus) -> Result<(), kube::Error> {
    if set.status.as_ref() == Some(status) {
        return Ok(());
    }
    let api = context.api::<StatefulSet>(&set.namespace().unwrap_or_default());
    if_there(api.patch_status(&set.name_any(), &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await).map(drop)
}

async fn make(
    context: &Context,
    set: &StatefulSet,
    ordinal: i32,
    of: &ControllerRevision,
    expectations: &Expectations,
) -> Result<(), kube::Error> {
    let Some(spec) = &set.spec else { return Ok(()) };
    let template: PodTemplateSpec = revision::template(of).unwrap_or_else(|| spec.template.clone());
    let name = format!("{}-{ordinal}", set.name_any());
    let mut pod = pods::from_template(set, &template);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name.clone());
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    labels.insert(revision::HASH_LABEL.into(), revision_name(of));
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec.service_name.clone();
    let volumes = pod_spec.volumes.get_or_insert_default();
    for claim in spec.volume_claim_templates.iter().flatten() {
        let volume = claim.name_any();
        let claim_name = claim_name(set, &volume, ordinal);
        make_claim(context, set, claim, &claim_name).await?;
        volumes.retain(|v| v.name != volume);
        let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: Some(false) };
        volumes.push(Volume { name: volume, persistent_volume_claim: Some(source), ..Volume::default() });
    }
    pods::create(context, expectations, set, &pod).await.map(drop)
}

fn claim_name(set: &StatefulSet, volume: &str, ordinal: i32) -> String {
    format!("{volume}-{}-{ordinal}", set.name_any())
}

fn retention(set: &StatefulSet) -> (bool, bool) {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    let delete = |p: Option<&String>| p.is_some_and(|p| p == "Delete");
    (delete(policy.and_then(|p| p.when_deleted.as_ref())), delete(policy.and_then(|p| p.when_scaled.as_ref())))
}

async fn make_claim(context: &Context, set: &StatefulSet, template: &PersistentVolumeClaim, name: &str) -> Result<(), kube::Error> {
    let mut claim = template.clone();
    claim.metadata.name = Some(name.into());
    claim.metadata.namespace = set.namespace();
    let selected = set.spec.iter().flat_map(|s| s.selector.match_labels.iter().flatten()).map(|(k, v)| (k.clone(), v.clone()));
    claim.metadata.labels.get_or_insert_default().extend(selected);
    claim.status = None;
    if retention(set).0 {
        claim.metadata.owner_references =
            Some(vec![OwnerReference { block_owner_deletion: None, controller: None, ..pods::controlled_by(set) }]);
    }
    let about = reference(set);
    match context.api::<PersistentVolumeClaim>(&set.namespace().unwrap_or_default()).create(&PostParams::default(), &claim).await {
        Ok(_) => {
            let text = format!("create Claim {name} in StatefulSet {} success", set.name_any());
            context.recorder.event(&about, EventType::Normal, "SuccessfulCreate", text);
            Ok(())
        }
        Err(error) if code(&error) == 409 => Ok(()),
        Err(error) => {
            let text = format!("create Claim {name} in StatefulSet {} failed error: {}", set.name_any(), said(&error));
            context.recorder.event(&about, EventType::Warning, "FailedCreate", text);
            Err(error)
        }
    }
}

/// Where scaling down deletes claims, they belong to the pod that goes and go with it.
async fn give_claims(context: &Context, set: &StatefulSet, ordinal: i32, pod: &Pod) -> Result<(), kube::Error> {
    if !retention(set).1 {
        return Ok(());
    }
    let api = context.api::<PersistentVolumeClaim>(&set.namespace().unwrap_or_default());
    for template in set.spec.iter().flat_map(|s| s.volume_claim_templates.iter().flatten()) {
        let owner = OwnerReference { block_owner_deletion: None, controller: None, ..pods::controlled_by(pod) };
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        if_there(api.patch(&claim_name(set, &template.name_any(), ordinal), &PatchParams::default(), &Patch::Merge(&patch)).await)?;
    }
    Ok(())
}

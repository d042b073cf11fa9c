//! DaemonSets: one pod on every node that the template fits. `plan` says where and in what order.

mod plan;

use crate::Context;
use crate::context::{if_there, itself, owner};
use crate::expectations::Expectations;
use crate::revision::{self, HASH_LABEL};
use crate::{owned, pods};
use client::{EventType, Informer, Key, Queue, reference};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec,
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use plan::{Place, Rollout};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone)]
struct Daemons {
    context: Context,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    expectations: Arc<Expectations>,
}

pub async fn run(context: Context) {
    let of = &context.informers;
    let (sets, all_pods, nodes, revisions) = (of.of::<DaemonSet>(), of.of::<Pod>(), of.of::<Node>(), of.of::<ControllerRevision>());
    tokio::join!(sets.synced(), all_pods.synced(), nodes.synced(), revisions.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&sets, &queue, itself);
    context.feed(&all_pods, &queue, owner("DaemonSet"));
    let everyone = sets.clone();
    context.feed(&nodes, &queue, move |change| {
        // Heartbeats move nothing.
        let placing =
            |n: &Option<Arc<Node>>| n.as_ref().map(|n| (n.metadata.labels.clone(), n.spec.as_ref().and_then(|s| s.taints.clone())));
        if placing(&change.old) == placing(&change.new) { Vec::new() } else { everyone.list().iter().map(|s| Key::of(&**s)).collect() }
    });
    let stop = context.stop.clone();
    let daemons = Daemons { context, sets, pods: all_pods, nodes, revisions, expectations: Arc::default() };
    client::run("daemonset", queue, 2, stop, move |key: Key| {
        let daemons = daemons.clone();
        async move {
            let Some(set) = daemons.sets.get(&key.namespace, &key.name) else { return Ok(None) };
            let uid = set.uid().unwrap_or_default();
            let going = |uid: &str| daemons.pods.by_uid(uid).is_none_or(|p| p.metadata.deletion_timestamp.is_some());
            if !daemons.expectations.met(&uid, |uid| daemons.pods.by_uid(uid).is_some(), going) {
                return Ok(Some(Duration::from_secs(10)));
            }
            match &set.spec {
                Some(spec) => daemons.reconcile(&set, spec).await,
                None => Ok(None),
            }
        }
    })
    .await;
}

impl Daemons {
    async fn reconcile(&self, set: &DaemonSet, spec: &DaemonSetSpec) -> Result<Option<Duration>, kube::Error> {
        let api = self.context.api::<Pod>(&set.namespace().unwrap_or_default());
        if pods::selects_nothing(&spec.selector) {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.".into();
            self.context.recorder.event(&reference(set), EventType::Warning, "SelectingAll", message);
            return Ok(None);
        }
        let children = owned::claim(set, &spec.selector, &self.pods, &api).await?;
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let known = revision::list(set, &self.revisions);
        let current = revision::current(&self.context, set, &spec.template, &known).await?;
        let hash = revision::label(&current);
        let template = template(spec, set.metadata.generation, &hash);
        let pod_spec = template.spec.clone().unwrap_or_default();
        let places: BTreeMap<String, Place> = self.nodes.list().iter().map(|n| (n.name_any(), plan::place(&pod_spec, n))).collect();
        let mut on: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in &children {
            on.entry(plan::node_of(pod).unwrap_or_default()).or_default().push(pod.clone());
        }
        let (create, mut delete) = self.manage(set, &places, &on, &hash);
        let mut create: Vec<String> = create;
        let settled = create.is_empty() && delete.is_empty();
        let desired = places.values().filter(|p| p.run).count();
        let strategy = spec.update_strategy.as_ref();
        if settled && strategy.and_then(|s| s.type_.as_deref()) != Some("OnDelete") {
            let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
            let max_surge = plan::scaled(rolling.and_then(|r| r.max_surge.as_ref()), desired).unwrap_or(0);
            let mut max_unavailable = plan::scaled(rolling.and_then(|r| r.max_unavailable.as_ref()), desired).unwrap_or(1);
            if max_surge == 0 {
                max_unavailable = max_unavailable.max(1);
            }
            let wanted = places.iter().filter(|(_, p)| p.run).map(|(n, _)| (n.clone(), on.get(n).cloned().unwrap_or_default()));
            let rollout = Rollout { hash: &hash, min_ready: spec.min_ready_seconds.unwrap_or(0), max_unavailable, max_surge };
            let step = plan::step(&wanted.collect(), &rollout, HASH_LABEL, Timestamp::now());
            create.extend(step.surge);
            delete.extend(step.delete);
        }
        for pod in &delete {
            pods::delete(&self.context, &self.expectations, set, pod).await?;
        }
        let new = create.iter().map(|node| bound_for(pods::from_template(set, &template), node)).collect();
        let made = pods::create_many(&self.context, &self.expectations, set, new).await;
        let again = self.status(set, spec, &places, &on, &hash).await?;
        made?;
        let live: BTreeSet<String> = children.iter().filter_map(|p| p.labels().get(HASH_LABEL)).cloned().collect();
        let used = known.iter().filter(|r| live.contains(&revision::label(r))).map(|r| r.name_any()).chain([current.name_any()]);
        revision::trim(&self.context, &known, &used.collect(), spec.revision_history_limit.unwrap_or(10)).await?;
        Ok(again)
    }

    /// The nodes that lack their pod, and the pods that are too many, ended or in the wrong place.
    fn manage(
        &self,
        set: &DaemonSet,
        places: &BTreeMap<String, Place>,
        on: &BTreeMap<String, Vec<Arc<Pod>>>,
        hash: &str,
    ) -> (Vec<String>, Vec<Arc<Pod>>) {
        let mut create: Vec<String> = places.iter().filter(|(n, p)| p.run && !on.contains_key(*n)).map(|(n, _)| n.clone()).collect();
        let mut delete = Vec::new();
        for (node, there) in on {
            let live = there.iter().filter(|p| p.metadata.deletion_timestamp.is_none());
            if !places.get(node).is_some_and(|p| p.stay) {
                delete.extend(live.cloned());
                continue;
            }
            let (mut kept, ended): (Vec<Arc<Pod>>, Vec<Arc<Pod>>) = live.cloned().partition(|p| !pods::finished(p));
            for pod in &ended {
                let (kind, reason, how) = match pods::phase(pod) {
                    "Failed" => (EventType::Warning, "FailedDaemonPod", "failed"),
                    _ => (EventType::Normal, "SucceededDaemonPod", "succeeded"),
                };
                let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
                let what = if how == "failed" { "try to kill it" } else { "try to delete it" };
                self.context.recorder.event(
                    &reference(set),
                    kind,
                    reason,
                    format!("Found {how} daemon pod {name} on node {node}, will {what}"),
                );
            }
            let none_left = there.iter().all(|p| pods::finished(p) && p.metadata.deletion_timestamp.is_some());
            if none_left && places.get(node).is_some_and(|p| p.run) {
                create.push(node.clone());
            }
            delete.extend(ended);
            // One of each template may run side by side in a surge; of one template only the oldest.
            kept.sort_by_key(|p| (!pods::scheduled(p), p.creation_timestamp().map(|t| t.0), p.name_any()));
            let mut seen = BTreeSet::new();
            delete.extend(kept.into_iter().filter(|p| !seen.insert(p.labels().get(HASH_LABEL).is_some_and(|h| h == hash))));
        }
        (create, delete)
    }

    async fn status(
        &self,
        set: &DaemonSet,
        spec: &DaemonSetSpec,
        places: &BTreeMap<String, Place>,
        on: &BTreeMap<String, Vec<Arc<Pod>>>,
        hash: &str,
    ) -> Result<Option<Duration>, kube::Error> {
        let old = set.status.clone().unwrap_or_default();
        let mut new =
            DaemonSetStatus { collision_count: old.collision_count, conditions: old.conditions.clone(), ..DaemonSetStatus::default() };
        let (mut available, mut updated) = (0, 0);
        let (now, min_ready) = (Timestamp::now(), spec.min_ready_seconds.unwrap_or(0));
        for (node, place) in places {
            let there = on.get(node).map(Vec::as_slice).unwrap_or_default();
            if !place.run {
                new.number_misscheduled += i32::from(!there.is_empty());
                continue;
            }
            new.desired_number_scheduled += 1;
            new.current_number_scheduled += i32::from(!there.is_empty());
            let ready = there.iter().find(|p| pods::ready(p));
            new.number_ready += i32::from(ready.is_some());
            available += i32::from(ready.is_some_and(|p| pods::available(p, min_ready, now)));
            updated += i32::from(there.iter().any(|p| p.labels().get(HASH_LABEL).is_some_and(|h| h == hash)));
        }
        new.number_available = Some(available).filter(|n| *n > 0);
        new.number_unavailable = Some(new.desired_number_scheduled - available).filter(|n| *n > 0);
        new.updated_number_scheduled = Some(updated).filter(|n| *n > 0);
        new.observed_generation = set.metadata.generation;
        if old != new {
            let mut status = json!(new);
            for field in ["numberAvailable", "numberUnavailable", "updatedNumberScheduled"] {
                if status.get(field).is_none() {
                    status[field] = serde_json::Value::Null;
                }
            }
            let api = self.context.api::<DaemonSet>(&set.namespace().unwrap_or_default());
            if_there(api.patch_status(&set.name_any(), &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await)?;
        }
        Ok((min_ready > 0 && available < new.number_ready).then(|| Duration::from_secs(u64::try_from(min_ready).unwrap_or(1))))
    }
}

/// The template with what every daemon pod has beside.
fn template(spec: &DaemonSetSpec, generation: Option<i64>, hash: &str) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.into());
    labels.insert("pod-template-generation".into(), generation.unwrap_or(1).to_string());
    let pod = template.spec.get_or_insert_default();
    for toleration in plan::tolerations(pod) {
        let known = pod.tolerations.get_or_insert_default();
        if !known.contains(&toleration) {
            known.push(toleration);
        }
    }
    template
}

/// The scheduler may choose, but only this node.
fn bound_for(mut pod: Pod, node: &str) -> Pod {
    let field = NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
    let affinity: &mut Affinity = pod.spec.get_or_insert_default().affinity.get_or_insert_default();
    let node_affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    node_affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector { node_selector_terms: vec![term] });
    pod
}

//! ReplicaSets and ReplicationControllers: so many pods of one template, no more and no fewer.

use crate::Context;
use crate::context::{if_there, itself, owner};
use crate::expectations::Expectations;
use crate::{owned, pods};
use client::{Key, Object, Queue};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The most pods made or removed in one go.
const BURST: usize = 500;

/// What the two kinds have in common.
trait Replicated: Object + Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    const KIND: &'static str;
    fn replicas(&self) -> i32;
    fn min_ready(&self) -> i32;
    fn selector(&self) -> LabelSelector;
    fn template(&self) -> Option<PodTemplateSpec>;
    /// The status to write, or `None` where it already says so.
    fn status(&self, seen: &Seen) -> Option<Value>;
}

/// What the status is made of.
struct Seen {
    replicas: i32,
    fully_labeled: i32,
    ready: i32,
    available: i32,
    terminating: i32,
    failure: Option<(&'static str, String)>,
}

pub async fn run_sets(context: Context) {
    run::<ReplicaSet>("replicaset", context).await;
}

pub async fn run_controllers(context: Context) {
    run::<ReplicationController>("replicationcontroller", context).await;
}

async fn run<K: Replicated>(name: &'static str, context: Context) {
    let parents = context.informers.of::<K>();
    let all_pods = context.informers.of::<Pod>();
    tokio::join!(parents.synced(), all_pods.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&parents, &queue, itself);
    context.feed(&all_pods, &queue, owner(K::KIND));
    // A pod without a controller may be adopted by whoever selects it.
    let candidates = parents.clone();
    context.feed(&all_pods, &queue, move |change| {
        let Some(pod) = change.new.as_ref().filter(|p| pods::controller_of(&p.metadata).is_none()) else { return Vec::new() };
        let namespace = pod.namespace().unwrap_or_default();
        candidates.list_in(&namespace).iter().filter(|p| pods::selects(&p.selector(), pod.labels())).map(|p| Key::of(&**p)).collect()
    });
    let expectations = Arc::new(Expectations::default());
    let stop = context.stop.clone();
    client::run(name, queue, 4, stop, move |key: Key| {
        let (context, parents, all_pods, expectations) = (context.clone(), parents.clone(), all_pods.clone(), expectations.clone());
        async move {
            let Some(parent) = parents.get(&key.namespace, &key.name) else { return Ok(None) };
            let uid = parent.uid().unwrap_or_default();
            let going = |uid: &str| all_pods.by_uid(uid).is_none_or(|p| p.metadata.deletion_timestamp.is_some());
            if !expectations.met(&uid, |uid| all_pods.by_uid(uid).is_some(), going) {
                return Ok(Some(Duration::from_secs(5)));
            }
            let api = context.api::<Pod>(&key.namespace);
            let children = owned::claim(&*parent, &parent.selector(), &all_pods, &api).await?;
            reconcile(&context, &*parent, children, &expectations).await
        }
    })
    .await;
}

async fn reconcile<K: Replicated>(
    context: &Context,
    parent: &K,
    children: Vec<Arc<Pod>>,
    expectations: &Expectations,
) -> Result<Option<Duration>, kube::Error> {
    let mut active: Vec<Arc<Pod>> = children.iter().filter(|p| pods::active(p)).cloned().collect();
    let wanted = usize::try_from(parent.replicas()).unwrap_or(0);
    let mut outcome = Ok(());
    let mut failure = None;
    if parent.meta().deletion_timestamp.is_none() {
        if active.len() < wanted {
            if let Some(template) = parent.template() {
                let missing = (wanted - active.len()).min(BURST);
                let new = vec![pods::from_template(parent, &template); missing];
                outcome = pods::create_many(context, expectations, parent, new).await;
                failure = outcome.as_ref().err().map(|e| ("FailedCreate", crate::context::said(e)));
            }
        } else if active.len() > wanted {
            pods::by_dispensability(&mut active);
            let surplus = (active.len() - wanted).min(BURST);
            let going = active.drain(..surplus).collect::<Vec<_>>();
            let results = futures::future::join_all(going.iter().map(|pod| pods::delete(context, expectations, parent, pod))).await;
            outcome = results.into_iter().collect();
            failure = outcome.as_ref().err().map(|e| ("FailedDelete", crate::context::said(e)));
        }
    }
    let now = Timestamp::now();
    let counted: Vec<&Arc<Pod>> = children.iter().filter(|p| pods::active(p)).collect();
    let labels = parent.template().and_then(|t| t.metadata).and_then(|m| m.labels).unwrap_or_default();
    let count = |test: &dyn Fn(&Pod) -> bool| i32::try_from(counted.iter().filter(|p| test(p)).count()).unwrap_or(i32::MAX);
    let terminating = children.iter().filter(|p| p.metadata.deletion_timestamp.is_some() && !pods::finished(p)).count();
    let seen = Seen {
        replicas: count(&|_| true),
        fully_labeled: count(&|p| labels.iter().all(|(k, v)| p.labels().get(k) == Some(v))),
        ready: count(&pods::ready),
        available: count(&|p| pods::available(p, parent.min_ready(), now)),
        terminating: i32::try_from(terminating).unwrap_or(i32::MAX),
        failure,
    };
    if let Some(status) = parent.status(&seen) {
        let api = context.api::<K>(&parent.namespace().unwrap_or_default());
        if_there(api.patch_status(&parent.name_any(), &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await)?;
    }
    outcome?;
    // A ready pod becomes available by time alone.
    Ok((seen.available < seen.ready).then(|| Duration::from_secs(u64::try_from(parent.min_ready()).unwrap_or(1).max(1))))
}

/// The condition list with `ReplicaFailure` set or cleared.
macro_rules! conditions {
    ($old:expr, $failure:expr, $condition:ident) => {{
        let mut conditions = $old.cloned().unwrap_or_default();
        let known = conditions.iter().position(|c| c.type_ == "ReplicaFailure");
        match (known, &$failure) {
            (Some(i), None) => {
                conditions.remove(i);
            }
            (Some(i), Some((reason, message))) => {
                conditions[i].reason = Some((*reason).into());
                conditions[i].message = Some(message.clone());
            }
            (None, Some((reason, message))) => conditions.push($condition {
                type_: "ReplicaFailure".into(),
                status: "True".into(),
                reason: Some((*reason).into()),
                message: Some(message.clone()),
                last_transition_time: Some(Time(Timestamp::now())),
            }),
            (None, None) => {}
        }
        // An empty list is written as such: a merge patch that leaves it out would keep the old one.
        Some(conditions)
    }};
}

macro_rules! differs {
    ($old:expr, $new:expr, $($field:ident),*) => { $($old.$field.clone().unwrap_or_default() != $new.$field.clone().unwrap_or_default())||* };
}

impl Replicated for ReplicaSet {
    const KIND: &'static str = "ReplicaSet";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn selector(&self) -> LabelSelector {
        self.spec.as_ref().map(|s| s.selector.clone()).unwrap_or_default()
    }

    fn template(&self) -> Option<PodTemplateSpec> {
        self.spec.as_ref()?.template.clone()
    }

    fn status(&self, seen: &Seen) -> Option<Value> {
        let old = self.status.clone().unwrap_or_default();
        let new = ReplicaSetStatus {
            replicas: seen.replicas,
            fully_labeled_replicas: Some(seen.fully_labeled),
            ready_replicas: Some(seen.ready),
            available_replicas: Some(seen.available),
            terminating_replicas: Some(seen.terminating),
            observed_generation: self.metadata.generation,
            conditions: conditions!(old.conditions.as_ref(), seen.failure, ReplicaSetCondition),
        };
        let changed = old.replicas != new.replicas
            || differs!(
                old,
                new,
                fully_labeled_replicas,
                ready_replicas,
                available_replicas,
                terminating_replicas,
                observed_generation,
                conditions
            );
        changed.then(|| json!(new))
    }
}

impl Replicated for ReplicationController {
    const KIND: &'static str = "ReplicationController";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn selector(&self) -> LabelSelector {
        LabelSelector { match_labels: self.spec.as_ref().and_then(|s| s.selector.clone()), match_expressions: None }
    }

    fn template(&self) -> Option<PodTemplateSpec> {
        self.spec.as_ref()?.template.clone()
    }

    fn status(&self, seen: &Seen) -> Option<Value> {
        let old = self.status.clone().unwrap_or_default();
        let new = ReplicationControllerStatus {
            replicas: seen.replicas,
            fully_labeled_replicas: Some(seen.fully_labeled),
            ready_replicas: Some(seen.ready),
            available_replicas: Some(seen.available),
            observed_generation: self.metadata.generation,
            conditions: conditions!(old.conditions.as_ref(), seen.failure, ReplicationControllerCondition),
        };
        let changed = old.replicas != new.replicas
            || differs!(old, new, fully_labeled_replicas, ready_replicas, available_replicas, observed_generation, conditions);
        changed.then(|| json!(new))
    }
}

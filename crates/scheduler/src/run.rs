//! The shell around the cycle: watches, the queue, assumed pods, binding, conditions and events.

use crate::cycle::{self, Outcome};
use crate::framework::{Cycle, Plugin};
use crate::nodes::{self, NodeInfo};
use crate::queue::Queue;
use crate::volumes::Volumes;
use crate::{plugins, preemption};
use client::{Change, EventType, Informer, Informers, Recorder, reference};
use k8s_openapi::api::core::v1::{Binding, Namespace, Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub struct Config {
    /// Only pods with this `spec.schedulerName` are ours.
    pub name: String,
    pub informers: Informers,
    pub recorder: Recorder,
    pub stop: CancellationToken,
}

struct Scheduler {
    name: String,
    client: Client,
    recorder: Recorder,
    plugins: Vec<Box<dyn Plugin>>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    namespaces: Informer<Namespace>,
    volumes: Volumes,
    queue: Mutex<Queue>,
    /// By uid: placed, and not yet seen to be bound.
    assumed: Mutex<HashMap<String, (Arc<Pod>, String)>>,
    ready: Notify,
}

/// Places pods until `stop`.
pub async fn run(config: Config) {
    let informers = &config.informers;
    let volumes = Volumes {
        claims: informers.of::<PersistentVolumeClaim>(),
        volumes: informers.of::<PersistentVolume>(),
        classes: informers.of::<StorageClass>(),
    };
    let scheduler = Arc::new(Scheduler {
        name: config.name,
        client: informers.client(),
        recorder: config.recorder,
        plugins: plugins::all(),
        pods: informers.of::<Pod>(),
        nodes: informers.of::<Node>(),
        namespaces: informers.of::<Namespace>(),
        volumes,
        queue: Mutex::default(),
        assumed: Mutex::default(),
        ready: Notify::new(),
    });
    let s = &scheduler;
    tokio::join!(
        s.pods.synced(),
        s.nodes.synced(),
        s.namespaces.synced(),
        s.volumes.claims.synced(),
        s.volumes.volumes.synced(),
        s.volumes.classes.synced()
    );
    let follow = s.follow_pods(s.pods.changes());
    let wake = async {
        tokio::join!(
            s.wake_on(s.nodes.changes(), matters),
            s.wake_on(s.volumes.claims.changes(), |_| true),
            s.wake_on(s.volumes.volumes.changes(), |_| true),
            s.wake_on(s.volumes.classes.changes(), |_| true),
        )
    };
    tokio::select! {
        () = config.stop.cancelled() => {}
        () = follow => {}
        _ = wake => {}
        () = scheduler.clone().schedule() => {}
    }
}

/// A heartbeat is no reason to try again.
fn matters(change: &Change<Node>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let allocatable = |n: &Node| n.status.as_ref().and_then(|s| s.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || allocatable(old) != allocatable(new)
}

impl Scheduler {
    fn ours(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        spec.node_name.as_deref().unwrap_or("").is_empty()
            && spec.scheduler_name.as_deref().unwrap_or("default-scheduler") == self.name
            && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
            && pod.metadata.deletion_timestamp.is_none()
            && !nodes::finished(pod)
    }

    async fn follow_pods(&self, mut changes: mpsc::UnboundedReceiver<Change<Pod>>) {
        while let Some(change) = changes.recv().await {
            let Some(pod) = change.object() else { continue };
            let uid = pod.uid().unwrap_or_default();
            match &change.new {
                Some(pod) if self.ours(pod) => {
                    // One that is being bound is not looked at again.
                    if !self.assumed.lock().contains_key(&uid) {
                        self.queue.lock().put(pod.clone());
                        self.ready.notify_one();
                    }
                }
                Some(pod) => {
                    self.queue.lock().remove(&uid);
                    if pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()) {
                        self.assumed.lock().remove(&uid);
                    }
                    let freed = change.old.as_ref().is_some_and(|old| !nodes::finished(old)) && nodes::finished(pod);
                    if freed || change.old.is_none() {
                        self.wake();
                    }
                }
                None => {
                    self.queue.lock().remove(&uid);
                    self.assumed.lock().remove(&uid);
                    self.wake();
                }
            }
        }
    }

    async fn wake_on<K: client::Object>(&self, mut changes: mpsc::UnboundedReceiver<Change<K>>, matters: impl Fn(&Change<K>) -> bool) {
        while let Some(change) = changes.recv().await {
            if matters(&change) {
                self.wake();
            }
        }
    }

    fn wake(&self) {
        self.queue.lock().wake();
        self.ready.notify_one();
    }

    async fn schedule(self: Arc<Self>) {
        loop {
            let next = self.queue.lock().pop(Instant::now());
            match next {
                Some((pod, attempts)) => self.clone().attempt(pod, attempts).await,
                None => {
                    let again = self.queue.lock().next(Instant::now());
                    let timer = async {
                        match again {
                            Some(at) => tokio::time::sleep_until(at.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = self.ready.notified() => {}
                        () = timer => {}
                    }
                }
            }
        }
    }

    async fn attempt(self: Arc<Self>, pod: Arc<Pod>, attempts: u32) {
        // The queue may be a step behind the watch.
        let namespace = pod.namespace().unwrap_or_default();
        let Some(pod) = self.pods.get(&namespace, &pod.name_any()).filter(|p| p.uid() == pod.uid() && self.ours(p)) else { return };
        let claims = match self.volumes.claims(&pod) {
            Ok(claims) => claims,
            Err(why) => {
                let total = self.nodes.list().len();
                let message = format!(
                    "0/{total} nodes are available: {why}. preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling."
                );
                return self.refuse(pod, attempts, message, None).await;
            }
        };
        let all = nodes::snapshot(self.nodes.list(), self.pods.list(), &self.assumed.lock());
        let cycle = Cycle::new(pod.clone(), claims, self.namespaces.list());
        match cycle::place(&self.plugins, &cycle, &all) {
            Outcome::Place(node) => {
                self.assumed.lock().insert(pod.uid().unwrap_or_default(), (pod.clone(), node.name().to_string()));
                let node = node.clone();
                tokio::spawn(async move { self.bind(cycle, node, attempts).await });
            }
            Outcome::Nowhere(refused) => {
                let why = cycle::explain(all.len(), &refused);
                match preemption::plan(&self.plugins, &cycle, &all, &refused) {
                    Some(plan) => {
                        let node = plan.node.name().to_string();
                        self.preempt(&cycle.pod, &node, &plan.victims).await;
                        let message = format!("{why} preemption: not eligible due to a terminating pod on the nominated node.");
                        self.refuse(pod, attempts, message, Some(node)).await;
                    }
                    None => {
                        let total = all.len();
                        let hopeless = refused.iter().filter(|(_, r)| r.iter().any(|r| !r.preemptible)).count();
                        let mut causes = Vec::new();
                        if total > hopeless {
                            causes.push(format!("{} No preemption victims found for incoming pod", total - hopeless));
                        }
                        if hopeless > 0 {
                            causes.push(format!("{hopeless} Preemption is not helpful for scheduling"));
                        }
                        let message = format!("{why} preemption: 0/{total} nodes are available: {}.", causes.join(", "));
                        self.refuse(pod, attempts, message, None).await;
                    }
                }
            }
        }
    }

    async fn bind(&self, cycle: Cycle, node: NodeInfo, attempts: u32) {
        let pod = cycle.pod.clone();
        let outcome = async {
            self.volumes.bind(&self.client, &cycle.claims, &pod, &node).await?;
            let target = ObjectReference { kind: Some("Node".into()), name: Some(node.name().into()), ..ObjectReference::default() };
            let metadata = kube::core::ObjectMeta {
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                ..Default::default()
            };
            let body = Binding { metadata, target };
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            let answer: Result<serde_json::Value, kube::Error> =
                api.create_subresource("binding", &pod.name_any(), &PostParams::default(), &body).await;
            answer.map(drop).map_err(|e| said(&e))
        };
        match outcome.await {
            Ok(()) => {
                let message =
                    format!("Successfully assigned {}/{} to {}", pod.namespace().unwrap_or_default(), pod.name_any(), node.name());
                self.recorder.event(&reference(&*pod), EventType::Normal, "Scheduled", message);
            }
            Err(why) => {
                self.assumed.lock().remove(&pod.uid().unwrap_or_default());
                // A pod that went away meanwhile needs no explanation.
                if self.pods.get(&pod.namespace().unwrap_or_default(), &pod.name_any()).is_some_and(|p| self.ours(&p)) {
                    self.recorder.event(&reference(&*pod), EventType::Warning, "FailedScheduling", why.clone());
                    self.queue.lock().back(pod.clone(), attempts, false, Instant::now());
                    self.ready.notify_one();
                }
            }
        }
    }

    async fn preempt(&self, pod: &Pod, node: &str, victims: &[Arc<Pod>]) {
        for victim in victims {
            let by = format!("Preempted by pod {} on node {node}", pod.uid().unwrap_or_default());
            self.recorder.event(&reference(&**victim), EventType::Normal, "Preempted", by);
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace().unwrap_or_default());
            let condition = json!({"status": {"conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                "message": format!("{}: preempting to accommodate a higher priority pod", self.name), "lastTransitionTime": meta::time::now(),
            }]}});
            // Best effort: the condition only explains the deletion.
            let _ = api.patch_status(&victim.name_any(), &PatchParams::default(), &Patch::Strategic(condition)).await;
            if let Err(error) = api.delete(&victim.name_any(), &DeleteParams::default()).await {
                tracing::debug!(%error, "preemption: a victim could not be deleted");
            }
        }
    }

    /// Says why on the pod, and queues it again.
    async fn refuse(&self, pod: Arc<Pod>, attempts: u32, message: String, nominated: Option<String>) {
        self.recorder.event(&reference(&*pod), EventType::Warning, "FailedScheduling", message.clone());
        let mut status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": meta::time::now(),
        }]});
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let said_so =
            conditions.clone().any(|c| c.type_ == "PodScheduled" && c.status == "False" && c.message.as_deref() == Some(&message));
        if let Some(node) = &nominated {
            status["nominatedNodeName"] = json!(node);
        }
        self.queue.lock().back(pod.clone(), attempts, true, Instant::now());
        if !said_so || nominated.is_some() {
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            if let Err(error) =
                api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(json!({"status": status}))).await
            {
                tracing::debug!(pod = %pod.name_any(), error = said(&error), "the reason could not be written");
            }
        }
        self.ready.notify_one();
    }
}

fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

//! Nodes that have gone quiet or are in need: their conditions, the taints that follow from them, and
//! the pods that do not tolerate those taints.
//!
//! Everything follows the watch; the only timers are the end of a node's grace period and the end of
//! a pod's toleration.

mod taints;

use crate::Context;
use crate::context::{if_there, itself};
use crate::pods;
use client::{Change, EventType, Informer, Key, Queue, reference};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LEASES: &str = "kube-node-lease";
const GRACE: Duration = Duration::from_secs(40);

#[derive(Clone)]
struct Lifecycle {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    memory: Arc<Mutex<Memory>>,
}

/// What the clock of this process knows. Losing it costs a grace period, nothing else.
#[derive(Default)]
struct Memory {
    /// When a node was last heard of, by our own clock: clocks need not agree.
    heard: HashMap<String, Instant>,
    /// When a node is looked at next without a change.
    wakes: HashMap<String, Instant>,
    ready: HashMap<String, bool>,
    /// Since when a pod is known to sit under taints that bear no time of their own.
    tainted: HashMap<String, Timestamp>,
}

pub async fn run(context: Context) {
    let nodes = context.informers.of::<Node>();
    let all_pods = context.informers.of::<Pod>();
    let leases = context.informers.of::<Lease>();
    tokio::join!(nodes.synced(), all_pods.synced(), leases.synced());
    let memory: Arc<Mutex<Memory>> = Arc::default();
    let queue: Queue<Key> = Queue::new();
    tokio::spawn(listen(leases, memory.clone()));
    let (others, tenants, heard) = (nodes.clone(), all_pods.clone(), memory.clone());
    context.feed(&nodes, &queue, move |change| {
        let mut keys = itself(change);
        let Some(name) = change.object().map(|n| n.name_any()) else { return keys };
        if heartbeat(change) {
            heard.lock().heard.insert(name.clone(), Instant::now());
        }
        let ready = |node: &Option<Arc<Node>>| node.as_ref().is_some_and(|n| taints::ready(n));
        // Whether any node is well decides over the others too.
        if ready(&change.old) != ready(&change.new) {
            keys.extend(others.list().iter().map(|n| Key::of(&**n)).filter(|k| k.name != name));
        }
        let taints = |node: &Option<Arc<Node>>| node.as_ref().map(|n| taints::executing(n)).unwrap_or_default();
        if taints(&change.old) != taints(&change.new) {
            keys.extend(on(&tenants, &name).iter().map(|p| Key::of(&**p)));
        }
        keys
    });
    let tainted = nodes.clone();
    context.feed(&all_pods, &queue, move |change| {
        // Only a pod that has just come to its node, or tolerates something else than before.
        let place =
            |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|p| p.spec.as_ref()).map(|s| (s.node_name.clone(), s.tolerations.clone()));
        let Some(name) = place(&change.new).and_then(|p| p.0).filter(|_| place(&change.old) != place(&change.new)) else {
            return Vec::new();
        };
        if tainted.get("", &name).is_some_and(|n| !taints::executing(&n).is_empty()) { itself(change) } else { Vec::new() }
    });
    let stop = context.stop.clone();
    let lifecycle = Lifecycle { context, nodes, pods: all_pods, memory };
    client::run("node-lifecycle", queue, 4, stop, move |key: Key| {
        let lifecycle = lifecycle.clone();
        async move { if key.namespace.is_empty() { lifecycle.node(&key.name).await } else { lifecycle.pod(&key).await } }
    })
    .await;
}

async fn listen(leases: Informer<Lease>, memory: Arc<Mutex<Memory>>) {
    let mut changes = leases.changes();
    while let Some(change) = changes.recv().await {
        if let Some(lease) = change.new.filter(|l| l.metadata.namespace.as_deref() == Some(LEASES)) {
            memory.lock().heard.insert(lease.name_any(), Instant::now());
        }
    }
}

/// Whether the node itself has posted its state.
fn heartbeat(change: &Change<Node>) -> bool {
    let beat = |node: &Option<Arc<Node>>| node.as_ref().and_then(|n| taints::condition(n, "Ready")?.last_heartbeat_time.clone());
    change.old.is_none() || beat(&change.old) != beat(&change.new)
}

fn on(all: &Informer<Pod>, node: &str) -> Vec<Arc<Pod>> {
    let here = |p: &Arc<Pod>| p.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node);
    all.list().into_iter().filter(here).collect()
}

impl Lifecycle {
    async fn node(&self, name: &str) -> Result<Option<Duration>, kube::Error> {
        let Some(node) = self.nodes.get("", name) else {
            let mut memory = self.memory.lock();
            memory.heard.remove(name);
            memory.wakes.remove(name);
            memory.ready.remove(name);
            return Ok(None);
        };
        let now = Instant::now();
        let heard = *self.memory.lock().heard.entry(name.into()).or_insert(now);
        let node = if now.duration_since(heard) >= GRACE { self.lost(node).await? } else { node };
        let ready = taints::ready(&node);
        let any_ready = ready || self.nodes.list().iter().any(|n| taints::ready(n));
        if let Some(wanted) = taints::wanted(&node, any_ready, Timestamp::now()) {
            let patch = json!({"metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": wanted}});
            if_there(self.context.all::<Node>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await)?;
        }
        let before = self.memory.lock().ready.get(name).copied();
        if !ready && before != Some(false) {
            if before.is_some() {
                let message = format!("Node {name} status is now: NodeNotReady");
                self.context.recorder.event(&reference(&*node), EventType::Normal, "NodeNotReady", message);
            }
            self.unready_pods(name).await?;
        }
        let mut memory = self.memory.lock();
        if before.is_none() {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.context.recorder.event(&reference(&*node), EventType::Normal, "RegisteredNode", message);
        }
        memory.ready.insert(name.into(), ready);
        // One wake at a time, however many changes there are.
        if memory.wakes.get(name).is_some_and(|at| *at > Instant::now()) {
            return Ok(None);
        }
        let left = GRACE.saturating_sub(now.duration_since(memory.heard.get(name).copied().unwrap_or(now)));
        let delay = if left.is_zero() { GRACE } else { left + Duration::from_millis(100) };
        memory.wakes.insert(name.into(), Instant::now() + delay);
        Ok(Some(delay))
    }

    /// The node with all that only its kubelet can tell set to `Unknown`.
    async fn lost(&self, node: Arc<Node>) -> Result<Arc<Node>, kube::Error> {
        let Some(conditions) = taints::unknown(&node, Timestamp::now()) else { return Ok(node) };
        let patch = json!({"metadata": {"resourceVersion": node.resource_version()}, "status": {"conditions": conditions}});
        let api = self.context.all::<Node>();
        Ok(Arc::new(api.patch_status(&node.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await?))
    }

    /// Takes the pods of a node that is not ready out of the endpoints.
    async fn unready_pods(&self, node: &str) -> Result<(), kube::Error> {
        for pod in on(&self.pods, node).into_iter().filter(|p| pods::ready(p)) {
            let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": now()});
            let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
            self.context.recorder.event(&reference(&*pod), EventType::Warning, "NodeNotReady", "Node is not ready".into());
            let api = self.context.api::<Pod>(&pod.namespace().unwrap_or_default());
            if_there(api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await)?;
        }
        Ok(())
    }

    /// Evicts the pod if its node has taints it tolerates no longer.
    async fn pod(&self, key: &Key) -> Result<Option<Duration>, kube::Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name).filter(|p| p.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        let uid = pod.uid().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).and_then(|n| self.nodes.get("", n));
        let taints: Vec<Taint> = node.map(|n| taints::executing(&n)).unwrap_or_default();
        if taints.is_empty() {
            if self.memory.lock().tainted.remove(&uid).is_some() {
                let message = format!("Cancelling deletion of Pod {key}");
                self.context.recorder.event(&reference(&*pod), EventType::Normal, "TaintManagerEviction", message);
            }
            return Ok(None);
        }
        let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
        let Some(tolerated) = taints::tolerated(&taints, tolerations) else {
            self.memory.lock().tainted.remove(&uid);
            return Ok(None);
        };
        let since = *self.memory.lock().tainted.entry(uid.clone()).or_insert_with(|| taints::since(&pod, &taints));
        let left = since.as_second().saturating_add(tolerated).saturating_sub(Timestamp::now().as_second());
        if let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) {
            return Ok(Some(Duration::from_secs(left)));
        }
        self.context.recorder.event(
            &reference(&*pod),
            EventType::Normal,
            "TaintManagerEviction",
            format!("Marking for deletion Pod {key}"),
        );
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": now(),
        });
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        let api = self.context.api::<Pod>(&key.namespace);
        if_there(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(&patch)).await)?;
        let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
        if_there(api.delete(&key.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await)?;
        self.memory.lock().tainted.remove(&uid);
        Ok(None)
    }
}

fn now() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now())
}

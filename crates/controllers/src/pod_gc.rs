//! Pods nobody else removes: those of nodes that are gone, those that were to end before they had a
//! node, and finished ones beyond what is worth keeping.

use crate::Context;
use crate::context::if_there;
use crate::pods;
use client::{Informer, Key, Queue};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Finished pods kept for their logs and exit codes (upstream's `terminated-pod-gc-threshold`).
const KEPT: usize = 12_500;
/// A node that is missing may be about to register again.
const QUARANTINE: Duration = Duration::from_secs(40);

pub async fn run(context: Context) {
    let all_pods = context.informers.of::<Pod>();
    let nodes = context.informers.of::<Node>();
    tokio::join!(all_pods.synced(), nodes.synced());
    // One key: a look at everything, which changes that matter call for.
    let everything = Key::new("", "pods");
    let queue: Queue<Key> = Queue::new();
    let (key, known) = (everything.clone(), nodes.clone());
    context.feed(&all_pods, &queue, move |change| {
        let Some(pod) = &change.new else { return Vec::new() };
        let homeless = node(pod).is_some_and(|n| known.get("", n).is_none());
        let newly_ended = pods::finished(pod) && change.old.as_ref().is_some_and(|p| !pods::finished(p));
        if homeless || newly_ended || never_placed(pod) { vec![key.clone()] } else { Vec::new() }
    });
    context.feed(&nodes, &queue, move |change| if change.new.is_none() { vec![everything.clone()] } else { Vec::new() });
    let missing: Arc<parking_lot::Mutex<HashMap<String, Instant>>> = Arc::default();
    let stop = context.stop.clone();
    client::run("pod-gc", queue, 1, stop, move |_| {
        let (context, all_pods, nodes, missing) = (context.clone(), all_pods.clone(), nodes.clone(), missing.clone());
        async move {
            let since = |name: &str| *missing.lock().entry(name.into()).or_insert_with(Instant::now);
            let again = collect(&context, &all_pods, &nodes, since).await?;
            missing.lock().retain(|name, _| nodes.get("", name).is_none() && again.is_some());
            Ok::<_, kube::Error>(again)
        }
    })
    .await;
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|n| !n.is_empty())
}

fn never_placed(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && node(pod).is_none()
}

async fn collect(
    context: &Context,
    all: &Informer<Pod>,
    nodes: &Informer<Node>,
    since: impl Fn(&str) -> Instant,
) -> Result<Option<Duration>, kube::Error> {
    let mut finished = Vec::new();
    let mut again: Option<Duration> = None;
    for pod in all.list() {
        let lost = node(&pod).filter(|n| nodes.get("", n).is_none());
        if let Some(name) = lost {
            let left = QUARANTINE.saturating_sub(since(name).elapsed());
            if left.is_zero() {
                // The cache may lag behind: only the server's word counts.
                if context.all::<Node>().get_opt(name).await?.is_none() {
                    remove(context, &pod, Some("PodGC: node no longer exists")).await?;
                }
            } else {
                let left = left + Duration::from_millis(100);
                again = Some(again.map_or(left, |a| a.min(left)));
            }
        } else if never_placed(&pod) {
            remove(context, &pod, None).await?;
        } else if pods::finished(&pod) && pod.metadata.deletion_timestamp.is_none() {
            finished.push(pod);
        }
    }
    finished.sort_by_key(|p| (p.creation_timestamp().map(|t| t.0), p.name_any()));
    let surplus = finished.len().saturating_sub(KEPT);
    for pod in &finished[..surplus] {
        remove(context, pod, None).await?;
    }
    Ok(again)
}

/// Without grace: there is no kubelet that would end it. A pod that has not ended counts as failed first.
async fn remove(context: &Context, pod: &Pod, disrupted: Option<&str>) -> Result<(), kube::Error> {
    let api = context.api::<Pod>(&pod.namespace().unwrap_or_default());
    if !pods::finished(pod) {
        let condition = disrupted.map(|message| {
            let now = Time(Timestamp::now());
            json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message, "lastTransitionTime": now})
        });
        let conditions: Vec<_> = condition.into_iter().collect();
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": conditions}});
        if_there(api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await)?;
    }
    let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
    let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    if_there(api.delete(&pod.name_any(), &params).await).map(drop)
}

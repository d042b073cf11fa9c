//! What nobody owns any more goes: dependents after their owners, or before them where the deletion
//! says so, or they are let go. The graph comes from watches of all that can be deleted.

mod graph;

use crate::Context;
use crate::context::{code, if_there};
use client::Queue;
use futures::StreamExt;
use graph::{FOREGROUND, Graph, Node, ORPHAN, blocks};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::ApiResource;
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiCapabilities, Scope};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often discovery is asked for resources that have come or gone.
const DISCOVER: Duration = Duration::from_secs(30);
/// Owners of kinds that discovery does not know are asked about again.
const UNKNOWN: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Collector {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<String>,
    /// `apiVersion` and kind → where it is served.
    kinds: Arc<Mutex<HashMap<(String, String), Served>>>,
}

type Served = (ApiResource, ApiCapabilities);

pub async fn run(context: Context) {
    let collector = Collector { client: context.client(), graph: Arc::default(), queue: Queue::new(), kinds: Arc::default() };
    let discovering = tokio::spawn(collector.clone().discover(context.stop.clone()));
    let queue = collector.queue.clone();
    client::run("garbage", queue, 8, context.stop.clone(), move |uid: String| {
        let collector = collector.clone();
        async move { collector.process(&uid).await }
    })
    .await;
    discovering.abort();
}

impl Collector {
    /// Keeps one watch per resource.
    async fn discover(self, stop: CancellationToken) {
        let mut watches: HashMap<(String, String), CancellationToken> = HashMap::new();
        loop {
            match kube::discovery::Discovery::new(self.client.clone()).run_aggregated().await {
                Ok(discovery) => {
                    let mut kinds = HashMap::new();
                    for group in discovery.groups() {
                        for version in group.versions() {
                            for (resource, capabilities) in group.versioned_resources(version) {
                                kinds.insert((resource.api_version.clone(), resource.kind.clone()), (resource, capabilities));
                            }
                        }
                    }
                    *self.kinds.lock() = kinds;
                    let all = discovery.groups().flat_map(|g| g.recommended_resources());
                    let wanted = all.filter(|(r, c)| ["list", "watch", "delete"].iter().all(|v| c.supports_operation(v)) && !ignored(r));
                    let mut there = HashSet::new();
                    for (resource, _) in wanted {
                        let key = (resource.group.clone(), resource.plural.clone());
                        there.insert(key.clone());
                        watches.entry(key).or_insert_with(|| {
                            let ended = stop.child_token();
                            let (collector, ending) = (self.clone(), ended.clone());
                            tokio::spawn(async move { ending.run_until_cancelled(collector.watch(resource)).await });
                            ended
                        });
                    }
                    watches.retain(|key, ended| {
                        let kept = there.contains(key);
                        if !kept {
                            ended.cancel();
                        }
                        kept
                    });
                }
                Err(error) => tracing::debug!(%error, "discovery for the garbage collector failed"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(DISCOVER)).await.is_none() {
                return;
            }
        }
    }

    async fn watch(self, resource: ApiResource) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), &resource);
        let mut stream = watcher(api, watcher::Config::default()).boxed();
        let mut listed = HashSet::new();
        let mut failures = 0u32;
        while let Some(event) = stream.next().await {
            let look = match event {
                Ok(event) => {
                    failures = 0;
                    match event {
                        watcher::Event::Init => {
                            listed.clear();
                            Vec::new()
                        }
                        watcher::Event::InitApply(object) => {
                            listed.extend(object.uid());
                            self.graph.lock().put(&object.uid().unwrap_or_default(), Node::of(&resource, &object.metadata))
                        }
                        watcher::Event::InitDone => {
                            let mut graph = self.graph.lock();
                            let gone: Vec<String> = graph.of(&resource).difference(&listed).cloned().collect();
                            gone.iter().flat_map(|uid| graph.remove(uid)).collect()
                        }
                        watcher::Event::Apply(object) => {
                            self.graph.lock().put(&object.uid().unwrap_or_default(), Node::of(&resource, &object.metadata))
                        }
                        watcher::Event::Delete(object) => self.graph.lock().remove(&object.uid().unwrap_or_default()),
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::debug!(resource = %resource.plural, %error, "watch interrupted");
                    tokio::time::sleep(Duration::from_millis(50 << failures.min(8))).await;
                    Vec::new()
                }
            };
            look.into_iter().for_each(|uid| self.queue.add(uid));
        }
    }

    fn api(&self, node: &Node) -> Api<DynamicObject> {
        match &node.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &node.resource),
            None => Api::all_with(self.client.clone(), &node.resource),
        }
    }

    async fn process(&self, uid: &str) -> Result<Option<Duration>, kube::Error> {
        let Some(node) = self.graph.lock().get(uid) else { return Ok(None) };
        if node.waits(ORPHAN) {
            for (dependent, child) in self.dependents(uid) {
                self.release(&dependent, &child, &|o| o.uid == uid).await?;
            }
            return self.drop_finalizer(uid, &node, ORPHAN).await;
        }
        if node.waits(FOREGROUND) {
            let blocking: Vec<String> = self.dependents(uid).into_iter().filter(|(_, n)| blocks(n, uid)).map(|(u, _)| u).collect();
            if blocking.is_empty() {
                return self.drop_finalizer(uid, &node, FOREGROUND).await;
            }
            let circle = self.graph.lock().waits_for_itself(uid);
            if circle {
                // Nobody in the circle could ever go first; this one no longer insists.
                self.unblock(uid, &node).await?;
            }
            blocking.into_iter().for_each(|u| self.queue.add(u));
            return Ok(None);
        }
        if node.deleting || node.owners.is_empty() {
            return Ok(None);
        }
        let (mut solid, mut waiting, mut dangling, mut unknown) = (0, 0, HashSet::new(), false);
        let mut letting_go = HashSet::new();
        for owner in &node.owners {
            let seen = self.graph.lock().get(&owner.uid);
            match seen {
                Some(o) if o.waits(FOREGROUND) => {
                    waiting += 1;
                    letting_go.insert(owner.uid.clone());
                }
                Some(o) if o.namespace.is_none() || o.namespace == node.namespace => solid += 1,
                _ => match self.exists(owner, &node).await? {
                    Some(true) => solid += 1,
                    Some(false) => drop(dangling.insert(owner.uid.clone())),
                    None => unknown = true,
                },
            }
        }
        let again = unknown.then_some(UNKNOWN);
        if solid > 0 || unknown {
            dangling.extend(letting_go);
            if !dangling.is_empty() && solid > 0 {
                self.release(uid, &node, &|o| dangling.contains(&o.uid)).await?;
            }
            return Ok(again);
        }
        let has_dependents = !self.dependents(uid).is_empty();
        let policy = if waiting > 0 && has_dependents || node.finalizers.iter().any(|f| f == FOREGROUND) {
            PropagationPolicy::Foreground
        } else if node.finalizers.iter().any(|f| f == ORPHAN) {
            PropagationPolicy::Orphan
        } else {
            PropagationPolicy::Background
        };
        // By its live state: owners may have been added since.
        let Some(live) = if_there(self.api(&node).get_metadata(&node.name).await)? else { return Ok(None) };
        let unchanged = live.uid().as_deref() == Some(uid) && live.metadata.owner_references.as_ref() == Some(&node.owners);
        if !unchanged {
            return Ok(Some(Duration::from_secs(1)));
        }
        let preconditions = Some(Preconditions { uid: Some(uid.into()), resource_version: live.resource_version() });
        let params = DeleteParams { propagation_policy: Some(policy), preconditions, ..DeleteParams::default() };
        if_there(self.api(&node).delete(&node.name, &params).await).map(|_| None)
    }

    fn dependents(&self, uid: &str) -> Vec<(String, Node)> {
        let graph = self.graph.lock();
        graph.dependents(uid).into_iter().filter_map(|u| graph.get(&u).map(|n| (u, n))).collect()
    }

    /// Asks the server about an owner the graph does not show; `None` where its kind is not served.
    async fn exists(&self, owner: &OwnerReference, dependent: &Node) -> Result<Option<bool>, kube::Error> {
        let kind = self.kinds.lock().get(&(owner.api_version.clone(), owner.kind.clone())).cloned();
        let Some((resource, capabilities)) = kind else { return Ok(None) };
        let namespace = (capabilities.scope == Scope::Namespaced).then(|| dependent.namespace.clone());
        let api: Api<DynamicObject> = match namespace {
            // Something cluster-wide cannot be owned by something in a namespace.
            Some(None) => return Ok(None),
            Some(Some(namespace)) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let live = if_there(api.get_metadata(&owner.name).await)?;
        Ok(Some(live.is_some_and(|l| l.uid().as_ref() == Some(&owner.uid))))
    }

    /// Takes owners off a dependent.
    async fn release(&self, uid: &str, node: &Node, off: &(dyn Fn(&OwnerReference) -> bool + Sync)) -> Result<(), kube::Error> {
        self.change_owners(uid, node, &|owner| (!off(owner)).then(|| owner.clone())).await
    }

    /// Lets every owner go before this dependent.
    async fn unblock(&self, uid: &str, node: &Node) -> Result<(), kube::Error> {
        self.change_owners(uid, node, &|owner| Some(OwnerReference { block_owner_deletion: Some(false), ..owner.clone() })).await
    }

    async fn change_owners(
        &self,
        uid: &str,
        node: &Node,
        change: &(dyn Fn(&OwnerReference) -> Option<OwnerReference> + Sync),
    ) -> Result<(), kube::Error> {
        let api = self.api(node);
        let Some(live) = if_there(api.get_metadata(&node.name).await)?.filter(|l| l.uid().as_deref() == Some(uid)) else { return Ok(()) };
        let kept: Vec<_> = live.owner_references().iter().filter_map(change).collect();
        // An empty list would be kept as one; no owner is no list.
        let kept = if kept.is_empty() { serde_json::Value::Null } else { json!(kept) };
        let patch = json!({"metadata": {"uid": uid, "resourceVersion": live.resource_version(), "ownerReferences": kept}});
        if_there(api.patch_metadata(&node.name, &PatchParams::default(), &Patch::Merge(&patch)).await).map(drop)
    }

    async fn drop_finalizer(&self, uid: &str, node: &Node, finalizer: &str) -> Result<Option<Duration>, kube::Error> {
        let api = self.api(node);
        let Some(live) = if_there(api.get_metadata(&node.name).await)?.filter(|l| l.uid().as_deref() == Some(uid)) else { return Ok(None) };
        let kept: Vec<_> = live.finalizers().iter().filter(|f| *f != finalizer).cloned().collect();
        let patch = json!({"metadata": {"uid": uid, "resourceVersion": live.resource_version(), "finalizers": kept}});
        match api.patch_metadata(&node.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(error) if code(&error) == 404 => Ok(None),
            other => other.map(|_| None),
        }
    }
}

/// Events come and go too often, and nothing owns by them.
fn ignored(resource: &ApiResource) -> bool {
    resource.plural == "events"
}

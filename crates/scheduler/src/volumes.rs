//! A pod's claims: what they need before a node is chosen, and how they are bound once it is.

use crate::nodes::NodeInfo;
use crate::selector;
use client::Informer;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use meta::Quantity;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// A class with this provisioner has only volumes made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Upstream's `bindTimeoutSeconds`.
const BIND_PATIENCE: Duration = Duration::from_secs(600);

/// One claim of the pod, as it matters to placement.
pub enum Claim {
    Bound(Arc<PersistentVolume>),
    /// Waits for its first consumer.
    Waiting {
        claim: Arc<PersistentVolumeClaim>,
        /// Volumes that exist and would do, smallest first.
        candidates: Vec<Arc<PersistentVolume>>,
        provisioner: Option<String>,
        topologies: Vec<TopologySelectorTerm>,
    },
}

#[derive(Default)]
pub struct Claims(pub Vec<Claim>);

#[derive(Clone)]
pub struct Volumes {
    pub claims: Informer<PersistentVolumeClaim>,
    pub volumes: Informer<PersistentVolume>,
    pub classes: Informer<StorageClass>,
}

impl Volumes {
    /// What the pod's claims need; an error is why it cannot be placed anywhere.
    pub fn claims(&self, pod: &Pod) -> Result<Claims, String> {
        let namespace = pod.namespace().unwrap_or_default();
        let mut claims = Vec::new();
        for name in claim_names(pod) {
            let Some(claim) = self.claims.get(&namespace, &name) else {
                return Err(format!("persistentvolumeclaim \"{name}\" not found"));
            };
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Lost") {
                return Err(format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume"));
            }
            claims.push(self.claim(claim)?);
        }
        Ok(Claims(claims))
    }

    fn claim(&self, claim: Arc<PersistentVolumeClaim>) -> Result<Claim, String> {
        if let Some(volume) = self.bound(&claim) {
            return Ok(Claim::Bound(volume));
        }
        let class_name = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        let class = self.classes.get("", &class_name);
        let waits = class.as_ref().and_then(|c| c.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer");
        if !waits {
            return Err("pod has unbound immediate PersistentVolumeClaims".into());
        }
        let mut candidates: Vec<_> = self.volumes.list().into_iter().filter(|v| fits(v, &claim, &class_name)).collect();
        candidates.sort_by_key(|v| (capacity(v), v.name_any()));
        let provisioner = class.as_ref().map(|c| c.provisioner.clone()).filter(|p| p != NO_PROVISIONER);
        let topologies = class.as_ref().and_then(|c| c.allowed_topologies.clone()).unwrap_or_default();
        Ok(Claim::Waiting { claim, candidates, provisioner, topologies })
    }

    fn bound(&self, claim: &PersistentVolumeClaim) -> Option<Arc<PersistentVolume>> {
        let volume = claim.spec.as_ref()?.volume_name.as_deref().filter(|v| !v.is_empty())?;
        claim.metadata.annotations.as_ref().filter(|a| a.contains_key(BIND_COMPLETED))?;
        self.volumes.get("", volume)
    }

    /// Binds or has provisioned what waits, for this node, and returns once all is bound.
    pub async fn bind(&self, client: &Client, claims: &Claims, pod: &Pod, node: &NodeInfo) -> Result<(), String> {
        let mut waiting = Vec::new();
        for claim in &claims.0 {
            let Claim::Waiting { claim, candidates, .. } = claim else { continue };
            let namespace = claim.namespace().unwrap_or_default();
            match candidates.iter().find(|v| reachable(v, node)) {
                Some(volume) => reserve(client, volume, claim).await,
                None => select_node(client, claim, node.name()).await,
            }
            .map_err(|e| format!("binding volumes: {e}"))?;
            waiting.push((namespace, claim.name_any()));
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let mut changes = self.claims.changes();
        let mut volume_changes = self.volumes.changes();
        let all_bound = async {
            loop {
                let missing = waiting.iter().find(|(namespace, name)| match self.claims.get(namespace, name) {
                    Some(claim) => self.bound(&claim).is_none(),
                    None => true,
                });
                let Some((namespace, name)) = missing else { return Ok(()) };
                let claim = self.claims.get(namespace, name).ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found"))?;
                let selected = claim.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE));
                if claim.spec.as_ref().is_none_or(|s| s.volume_name.is_none()) && selected.is_some_and(|s| s != node.name()) {
                    return Err(format!("selectedNode annotation of claim \"{name}\" was changed"));
                }
                tokio::select! {
                    change = changes.recv() => if change.is_none() { return Err("the watch of claims ended".to_string()) },
                    change = volume_changes.recv() => if change.is_none() { return Err("the watch of volumes ended".to_string()) },
                }
            }
        };
        match tokio::time::timeout(BIND_PATIENCE, all_bound).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("binding volumes: pod \"{}\": timed out waiting for the condition", pod.name_any())),
        }
    }
}

/// The claims that a pod's volumes name; an ephemeral volume's claim is named after both.
fn claim_names(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes
        .filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), v.name)),
            (None, None) => None,
        })
        .collect()
}

/// The volume's own node affinity.
pub fn reachable(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    let required = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref()).and_then(|a| a.required.as_ref());
    required.is_none_or(|selector| selector::node_selector(selector, node))
}

fn capacity(volume: &PersistentVolume) -> i64 {
    let storage = volume.spec.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    storage.and_then(|q| Quantity::parse(&q.0).ok()).map_or(0, |q| q.value())
}

fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim, class: &str) -> bool {
    let (Some(have), Some(want)) = (&volume.spec, &claim.spec) else { return false };
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending");
    let reserved = have.claim_ref.as_ref();
    let free = match reserved {
        None => phase == "Available",
        Some(r) => {
            let named =
                r.name.as_deref() == claim.metadata.name.as_deref() && r.namespace.as_deref() == claim.metadata.namespace.as_deref();
            named && r.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
        }
    };
    let requested = want.resources.as_ref().and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage"));
    let requested = requested.and_then(|q| Quantity::parse(&q.0).ok()).map_or(0, |q| q.value());
    let mode = |m: &Option<String>| m.clone().unwrap_or_else(|| "Filesystem".into());
    let modes = have.access_modes.as_deref().unwrap_or_default();
    free && volume.metadata.deletion_timestamp.is_none()
        && have.storage_class_name.as_deref().unwrap_or("") == class
        && mode(&have.volume_mode) == mode(&want.volume_mode)
        && want.access_modes.iter().flatten().all(|m| modes.contains(m))
        && capacity(volume) >= requested
        && crate::selector::Pods::new(want.selector.as_ref().or(Some(&Default::default()))).matches(volume.metadata.labels.as_ref())
}

/// Writes the claim into the volume; the binder does the rest.
async fn reserve(client: &Client, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), kube::Error> {
    let reference = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    };
    let patch = json!({
        "metadata": {"resourceVersion": volume.metadata.resource_version, "annotations": {BOUND_BY_CONTROLLER: "yes"}},
        "spec": {"claimRef": reference},
    });
    let api: Api<PersistentVolume> = Api::all(client.clone());
    api.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Tells the provisioner where.
async fn select_node(client: &Client, claim: &PersistentVolumeClaim, node: &str) -> Result<(), kube::Error> {
    let selected = claim.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE));
    if selected.is_some_and(|s| s == node) {
        return Ok(());
    }
    let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
    api.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

//! The finalizers that keep a claim while a pod uses it and a volume while a claim does.

use super::Binder;
use crate::context::if_there;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// The names of the claims a pod mounts, its ephemeral ones among them.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), v.name)),
        (None, None) => None,
    })
}

/// A pod that was never placed holds nothing; a finished one no longer does.
fn uses(pod: &Pod, claim: &str) -> bool {
    crate::pods::scheduled(pod) && !crate::pods::finished(pod) && claims_of(pod).any(|name| name == claim)
}

/// The list to write, or `None` where it is right already.
fn finalizers(old: &[String], own: &str, wanted: bool) -> Option<Vec<String>> {
    if old.iter().any(|f| f == own) == wanted {
        return None;
    }
    let mut new: Vec<String> = old.iter().filter(|f| *f != own).cloned().collect();
    if wanted {
        new.push(own.into());
    }
    Some(new)
}

impl Binder {
    pub(super) async fn protect_claim(&self, claim: &PersistentVolumeClaim) -> Result<(), kube::Error> {
        let (namespace, name) = (claim.namespace().unwrap_or_default(), claim.name_any());
        let deleting = claim.metadata.deletion_timestamp.is_some();
        let Some(list) = finalizers(claim.finalizers(), CLAIM, !deleting) else { return Ok(()) };
        if deleting {
            if self.pods.list_in(&namespace).iter().any(|p| uses(p, &name)) {
                return Ok(());
            }
            // The cache may lag behind a pod that has just been placed.
            let pods = self.context.api::<Pod>(&namespace).list(&ListParams::default()).await?;
            if pods.items.iter().any(|p| uses(p, &name)) {
                return Ok(());
            }
        }
        let patch = json!({"metadata": {"resourceVersion": claim.resource_version(), "finalizers": list}});
        let api = self.context.api::<PersistentVolumeClaim>(&namespace);
        if_there(api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await).map(|_| ())
    }

    pub(super) async fn protect_volume(&self, volume: &PersistentVolume) -> Result<(), kube::Error> {
        let deleting = volume.metadata.deletion_timestamp.is_some();
        let Some(list) = finalizers(volume.finalizers(), VOLUME, !deleting) else { return Ok(()) };
        let bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        if deleting && bound {
            return Ok(());
        }
        let patch = json!({"metadata": {"resourceVersion": volume.resource_version(), "finalizers": list}});
        let api = self.context.all::<PersistentVolume>();
        if_there(api.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(|_| ())
    }
}

//! The volume's side of binding: its phase, and what becomes of it once its claim is gone.

use super::claim::volume_name;
use super::{BOUND_BY_CONTROLLER, Binder, PROVISIONED_BY, matching};
use crate::context::if_there;
use client::{EventType, Key, reference};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("")
}

impl Binder {
    pub(super) async fn sync_volume(&self, key: &Key) -> Result<Option<Duration>, kube::Error> {
        let Some(volume) = self.volumes.get("", &key.name) else { return Ok(None) };
        self.protect_volume(&volume).await?;
        let Some(claim_ref) = matching::claim_ref(&volume) else {
            self.set_phase(&volume, "Available", None).await?;
            return Ok(None);
        };
        let claim_key = Key::new(claim_ref.namespace.clone().unwrap_or_default(), claim_ref.name.clone().unwrap_or_default());
        let Some(uid) = claim_ref.uid.as_deref().filter(|uid| !uid.is_empty()) else {
            // Reserved; the claim's own turn binds it.
            self.set_phase(&volume, "Available", None).await?;
            self.claim_queue.add(claim_key);
            return Ok(None);
        };
        let is_it = |c: &PersistentVolumeClaim| c.metadata.uid.as_deref() == Some(uid);
        let mut claim = self.claims.get(&claim_key.namespace, &claim_key.name).map(|c| (*c).clone()).filter(is_it);
        if claim.is_none() {
            // What releases a volume must not rest on a cache that may lag.
            claim = self.context.api::<PersistentVolumeClaim>(&claim_key.namespace).get_opt(&claim_key.name).await?.filter(is_it);
        }
        let Some(claim) = claim else { return self.release(&volume).await.map(|()| None) };
        if volume_name(&claim).is_empty() {
            // The volume was bound first; the claim follows in its own turn.
            self.claim_queue.add(claim_key);
        } else if volume_name(&claim) == key.name {
            self.set_phase(&volume, "Bound", None).await?;
        } else if volume.annotations().contains_key(PROVISIONED_BY) && reclaim(&volume) == "Delete" {
            // Made for this claim, which has since taken another.
            self.release(&volume).await?;
        } else {
            self.unbind(&volume).await?;
        }
        Ok(None)
    }

    async fn release(&self, volume: &PersistentVolume) -> Result<(), kube::Error> {
        if !matches!(phase(volume), "Released" | "Failed") {
            // The change brings the volume back here.
            return self.set_phase(volume, "Released", None).await;
        }
        let spec = volume.spec.as_ref();
        let refused = match reclaim(volume) {
            // Deleting is done by whoever made it.
            "Delete" if volume.annotations().contains_key(PROVISIONED_BY) || spec.is_some_and(|s| s.csi.is_some()) => None,
            "Delete" => Some(("VolumeFailedDelete", "no provisioner is named that could delete this volume")),
            "Recycle" => Some(("VolumeFailedRecycle", "no recycler exists for this volume")),
            _ => None,
        };
        if let Some((reason, said)) = refused
            && phase(volume) != "Failed"
        {
            self.set_phase(volume, "Failed", Some(said)).await?;
            self.context.recorder.event(&reference(volume), EventType::Warning, reason, said.into());
        }
        Ok(())
    }

    /// Makes the volume name the claim, by uid, and be Bound.
    pub(super) async fn bind_volume(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), kube::Error> {
        let named = matching::names(volume, claim);
        let complete = named && matching::claim_ref(volume).and_then(|r| r.uid.as_ref()) == claim.metadata.uid.as_ref();
        if !complete {
            let mut patch = json!({"metadata": {"resourceVersion": volume.resource_version()}, "spec": {"claimRef": reference(claim)}});
            if !named {
                patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
            }
            // Had another claim taken it meanwhile, this is a conflict and the claim looks again.
            self.context.all::<PersistentVolume>().patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        self.set_phase(volume, "Bound", None).await
    }

    /// Back to what it was before: free, or reserved by whoever wrote the reference.
    async fn unbind(&self, volume: &PersistentVolume) -> Result<(), kube::Error> {
        let mut patch = json!({"metadata": {"resourceVersion": volume.resource_version()}});
        if volume.annotations().contains_key(BOUND_BY_CONTROLLER) {
            patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: null});
            patch["spec"] = json!({"claimRef": null});
        } else {
            patch["spec"] = json!({"claimRef": {"uid": null}});
        }
        let api = self.context.all::<PersistentVolume>();
        if_there(api.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(|_| ())
    }

    async fn set_phase(&self, volume: &PersistentVolume, to: &str, message: Option<&str>) -> Result<(), kube::Error> {
        if phase(volume) == to {
            return Ok(());
        }
        let mut status: Value = json!({"phase": to, "message": message});
        status["lastPhaseTransitionTime"] =
            json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::now()));
        let patch = json!({"metadata": {"uid": volume.metadata.uid}, "status": status});
        let api = self.context.all::<PersistentVolume>();
        if_there(api.patch_status(&volume.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(|_| ())
    }
}

fn reclaim(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}

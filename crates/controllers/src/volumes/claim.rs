//! The claim's side of binding.

use super::matching::{self, class_of, names, unsuitable};
use super::{BETA_PROVISIONER, BIND_COMPLETED, BOUND_BY_CONTROLLER, Binder, PROVISIONER, SELECTED_NODE};
use crate::context::if_there;
use client::{EventType, Key, reference};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// How often an unbound claim is looked at without anything having changed (upstream's sync period).
const AGAIN: Option<Duration> = Some(Duration::from_secs(15));

type Outcome = Result<Option<Duration>, kube::Error>;

pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or("")
}

impl Binder {
    pub(super) async fn sync_claim(&self, key: &Key) -> Outcome {
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(None) };
        self.protect_claim(&claim).await?;
        if claim.metadata.deletion_timestamp.is_some() && volume_name(&claim).is_empty() {
            return Ok(None);
        }
        if claim.annotations().contains_key(BIND_COMPLETED) { self.sync_bound(&claim).await } else { self.sync_unbound(&claim).await }
    }

    async fn sync_unbound(&self, claim: &PersistentVolumeClaim) -> Outcome {
        if !volume_name(claim).is_empty() {
            return self.sync_named(claim).await;
        }
        let Some(class_name) = class_of(claim) else {
            if let Some(class) = self.default_class() {
                // The change brings the claim back here.
                let spec = json!({"spec": {"storageClassName": class}});
                return self.patch_claim(claim, spec).await.map(|()| None);
            }
            return self.match_or_provision(claim, "").await;
        };
        self.match_or_provision(claim, class_name).await
    }

    async fn match_or_provision(&self, claim: &PersistentVolumeClaim, class_name: &str) -> Outcome {
        let class = self.classes.get("", class_name);
        let waits = class.as_ref().and_then(|c| c.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer");
        let delayed = waits && !claim.annotations().contains_key(SELECTED_NODE);
        if let Some(volume) = matching::find(&self.volumes.list(), claim, delayed) {
            return self.bind(&volume, claim).await;
        }
        if delayed {
            self.tell(claim, EventType::Normal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
        } else if class_name.is_empty() {
            let said = "no persistent volumes available for this claim and no storage class is set";
            self.tell(claim, EventType::Normal, "FailedBinding", said);
        } else {
            self.provision(claim, class_name, class.as_deref()).await?;
        }
        self.set_status(claim, json!({"phase": "Pending"})).await?;
        Ok(AGAIN)
    }

    /// Hands the claim to its class's provisioner, which makes a volume that names the claim.
    async fn provision(&self, claim: &PersistentVolumeClaim, name: &str, class: Option<&StorageClass>) -> Result<(), kube::Error> {
        let Some(class) = class else {
            let said = format!("storageclass.storage.k8s.io \"{name}\" not found");
            self.tell(claim, EventType::Warning, "ProvisioningFailed", &said);
            return Ok(());
        };
        let provisioner = class.provisioner.as_str();
        if provisioner == "kubernetes.io/no-provisioner" {
            let said = "no persistent volumes available for this claim, and its storage class makes none";
            self.tell(claim, EventType::Warning, "ProvisioningFailed", said);
            return Ok(());
        }
        let told = |key: &str| claim.annotations().get(key).map(String::as_str) == Some(provisioner);
        if !told(PROVISIONER) || !told(BETA_PROVISIONER) {
            let annotations = json!({PROVISIONER: provisioner, BETA_PROVISIONER: provisioner});
            self.patch_claim(claim, json!({"metadata": {"annotations": annotations}})).await?;
        }
        let said = format!(
            "waiting for a volume to be created, either by external provisioner \"{provisioner}\" or by hand; \
             if it does not come, check that the provisioner is running"
        );
        self.tell(claim, EventType::Normal, "ExternalProvisioning", &said);
        Ok(())
    }

    /// The claim's author chose the volume, or an earlier run got no further than the choice.
    async fn sync_named(&self, claim: &PersistentVolumeClaim) -> Outcome {
        let pending = json!({"phase": "Pending"});
        let Some(volume) = self.volumes.get("", volume_name(claim)) else {
            self.set_status(claim, pending).await?;
            return Ok(AGAIN);
        };
        if matching::claim_ref(&volume).is_none() {
            if let Some(why) = unsuitable(&volume, claim) {
                let said = format!("cannot bind to requested volume \"{}\": {why}", volume.name_any());
                self.tell(claim, EventType::Warning, "VolumeMismatch", &said);
                self.set_status(claim, pending).await?;
                return Ok(AGAIN);
            }
            return self.bind(&volume, claim).await;
        }
        if names(&volume, claim) {
            return self.bind(&volume, claim).await;
        }
        let said = format!("volume \"{}\" already bound to a different claim.", volume.name_any());
        self.tell(claim, EventType::Warning, "FailedBinding", &said);
        self.set_status(claim, pending).await?;
        Ok(AGAIN)
    }

    async fn sync_bound(&self, claim: &PersistentVolumeClaim) -> Outcome {
        let name = volume_name(claim);
        if name.is_empty() {
            let said = "bound claim has lost its reference to a persistent volume; the volume's data is lost";
            return self.lose(claim, "ClaimLost", said).await;
        }
        let mut volume = self.volumes.get("", name).map(|v| (*v).clone());
        if volume.is_none() {
            // Too grave a verdict to pass on a cache that may lag.
            volume = self.context.all::<PersistentVolume>().get_opt(name).await?;
        }
        let Some(volume) = volume else {
            return self.lose(claim, "ClaimLost", "bound claim has lost its persistent volume; the volume's data is lost").await;
        };
        if matching::claim_ref(&volume).is_none() || names(&volume, claim) {
            return self.bind(&volume, claim).await;
        }
        let said = format!("volume \"{name}\" is bound to another claim; this claim is bound to nothing");
        self.lose(claim, "ClaimMisbound", &said).await
    }

    async fn lose(&self, claim: &PersistentVolumeClaim, reason: &str, said: &str) -> Outcome {
        if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Lost") {
            self.set_status(claim, json!({"phase": "Lost", "accessModes": null, "capacity": null})).await?;
            self.tell(claim, EventType::Warning, reason, said);
        }
        Ok(None)
    }

    /// Volume first, claim second, each step skipped where it is done: whoever is interrupted starts again.
    async fn bind(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Outcome {
        self.bind_volume(volume, claim).await?;
        let mut annotations = serde_json::Map::new();
        if volume_name(claim).is_empty() {
            annotations.insert(BOUND_BY_CONTROLLER.into(), json!("yes"));
        }
        if !claim.annotations().contains_key(BIND_COMPLETED) {
            annotations.insert(BIND_COMPLETED.into(), json!("yes"));
        }
        if !annotations.is_empty() {
            let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.name_any()}});
            self.patch_claim(claim, patch).await?;
        }
        let spec = volume.spec.clone().unwrap_or_default();
        let mut status = json!({"phase": "Bound", "accessModes": spec.access_modes});
        let had = claim.status.as_ref().and_then(|s| s.capacity.as_ref()).is_some_and(|c| !c.is_empty());
        let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        // Once bound, the size is the business of whoever expands the volume.
        if !had || !bound {
            status["capacity"] = json!(spec.capacity);
        }
        self.set_status(claim, status).await?;
        Ok(None)
    }

    /// The newest of the classes marked as default.
    fn default_class(&self) -> Option<String> {
        let classes = self.classes.list();
        let marked = classes.iter().filter(|c| c.annotations().get(DEFAULT_CLASS).is_some_and(|v| v == "true"));
        let newest = marked.max_by_key(|c| (c.creation_timestamp().map(|t| t.0), std::cmp::Reverse(c.name_any())));
        newest.map(|c| c.name_any())
    }

    async fn patch_claim(&self, claim: &PersistentVolumeClaim, mut patch: Value) -> Result<(), kube::Error> {
        patch["metadata"]["resourceVersion"] = json!(claim.resource_version());
        let api = self.context.api::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default());
        if_there(api.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(|_| ())
    }

    /// Writes the given fields of the status if any of them differs.
    async fn set_status(&self, claim: &PersistentVolumeClaim, status: Value) -> Result<(), kube::Error> {
        let old = json!(claim.status);
        let same = status.as_object().into_iter().flatten().all(|(k, v)| old.get(k).unwrap_or(&Value::Null) == v);
        if same {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": claim.uid()}, "status": status});
        let api = self.context.api::<PersistentVolumeClaim>(&claim.namespace().unwrap_or_default());
        if_there(api.patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(|_| ())
    }

    fn tell(&self, claim: &PersistentVolumeClaim, kind: EventType, reason: &str, said: &str) {
        self.context.recorder.event(&reference(claim), kind, reason, said.into());
    }
}

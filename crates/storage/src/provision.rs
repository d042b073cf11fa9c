//! From a claim to a volume.

use crate::{Error, HOSTNAME, PROVISIONED_BY, PROVISIONER, Provisioner, directory};
use client::{EventType, Key, reference};
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const ASKED: [&str; 2] = ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// The class or the node may come later than the claim.
const AGAIN: Option<Duration> = Some(Duration::from_secs(15));

impl Provisioner {
    pub(crate) async fn provision(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(None) };
        let spec = claim.spec.clone().unwrap_or_default();
        let asked = ASKED.iter().any(|a| claim.annotations().get(*a).is_some_and(|p| p == PROVISIONER));
        let open = spec.volume_name.as_deref().is_none_or(str::is_empty) && claim.metadata.deletion_timestamp.is_none();
        let Some(uid) = claim.uid().filter(|_| asked && open) else { return Ok(None) };
        let class_name = claim.annotations().get(BETA_CLASS).cloned().or(spec.storage_class_name).unwrap_or_default();
        let Some(class) = self.classes.get("", &class_name).filter(|c| c.provisioner == PROVISIONER) else { return Ok(AGAIN) };
        if !self.mine(&claim, &class) {
            // Without a chosen node the choice depends on which nodes there are.
            return Ok(if claim.annotations().contains_key(SELECTED_NODE) { None } else { AGAIN });
        }
        let Some(hostname) = self.hostname() else { return Ok(AGAIN) };
        if let Some(why) = refusal(&claim) {
            self.tell(&claim, EventType::Warning, "ProvisioningFailed", why.into());
            return Ok(None);
        }
        let name = format!("{}{uid}", directory::PREFIX);
        if self.volumes.get("", &name).is_some() {
            return Ok(None);
        }
        let Some(path) = directory::path(&self.config.root, &name) else { return Ok(None) };
        let directory = path.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || directory::make(&directory)).await? {
            self.tell(&claim, EventType::Warning, "ProvisioningFailed", format!("failed to make the volume's directory: {error}"));
            return Err(error.into());
        }
        let volume = volume(&name, &path, &hostname, &claim, &class, &class_name);
        let api: Api<PersistentVolume> = Api::all(self.config.informers.client());
        match api.create(&PostParams::default(), &volume).await {
            Ok(_) => self.tell(&claim, EventType::Normal, "ProvisioningSucceeded", format!("Successfully provisioned volume {name}")),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // Made by an earlier run, or by another node that thought the claim its own.
                let known = api.get_opt(&name).await?;
                if known.is_some_and(|v| hostname_of(&v) != Some(hostname.as_str())) {
                    tokio::task::spawn_blocking(move || directory::remove_unused(&path)).await??;
                }
            }
            Err(error) => {
                self.tell(&claim, EventType::Warning, "ProvisioningFailed", format!("failed to create volume {name}: {error}"));
                return Err(error.into());
            }
        }
        Ok(None)
    }

    /// The scheduler's choice; where the class does not wait for one, the first of the nodes.
    fn mine(&self, claim: &PersistentVolumeClaim, class: &StorageClass) -> bool {
        if let Some(node) = claim.annotations().get(SELECTED_NODE) {
            return *node == self.config.node_name;
        }
        let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        !waits && self.nodes.list().iter().map(|n| n.name_any()).min().is_some_and(|first| first == self.config.node_name)
    }

    fn tell(&self, claim: &PersistentVolumeClaim, kind: EventType, reason: &str, said: String) {
        self.config.recorder.event(&reference(claim), kind, reason, said);
    }
}

/// What a directory cannot be.
fn refusal(claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let spec = claim.spec.as_ref()?;
    if spec.volume_mode.as_deref() == Some("Block") {
        return Some("local volumes are directories: volumeMode Block is not supported");
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Some("local volumes start empty: a data source is not supported");
    }
    if spec.selector.is_some() {
        return Some("a claim with a selector cannot be provisioned");
    }
    None
}

/// The node a volume of ours lies on.
pub fn hostname_of(volume: &PersistentVolume) -> Option<&str> {
    let terms = &volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?.node_selector_terms;
    let requirements = terms.iter().flat_map(|t| t.match_expressions.iter().flatten());
    requirements.filter(|r| r.key == HOSTNAME).find_map(|r| r.values.iter().flatten().next()).map(String::as_str)
}

fn volume(
    name: &str,
    path: &Path,
    hostname: &str,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    class_name: &str,
) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let requested = spec.resources.and_then(|r| r.requests).and_then(|r| r.get("storage").cloned());
    let here = NodeSelectorRequirement { key: HOSTNAME.into(), operator: "In".into(), values: Some(vec![hostname.into()]) };
    let term = NodeSelectorTerm { match_expressions: Some(vec![here]), match_fields: None };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.into()),
            annotations: Some(BTreeMap::from([(PROVISIONED_BY.into(), PROVISIONER.into())])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            local: Some(LocalVolumeSource { path: path.to_string_lossy().into_owned(), fs_type: None }),
            node_affinity: Some(VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }),
            claim_ref: Some(reference(claim)),
            capacity: requested.map(|size| BTreeMap::from([("storage".into(), size)])),
            access_modes: spec.access_modes,
            persistent_volume_reclaim_policy: Some(class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into())),
            storage_class_name: Some(class_name.into()),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_volume_names_its_claim_and_its_node() {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let claim = json!({"metadata": {"name": "data", "namespace": "ns", "uid": "u1"}, "spec": spec});
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("a claim");
        let class: StorageClass = serde_json::from_value(crate::default_class()).expect("a class");
        let made = volume("pvc-u1", Path::new("/volumes/pvc-u1"), "n1", &claim, &class, "local");
        assert_eq!(hostname_of(&made), Some("n1"));
        let spec = json!(made.spec);
        assert_eq!(spec["claimRef"]["uid"], "u1");
        assert_eq!(spec["capacity"]["storage"], "1Gi");
        assert_eq!(spec["persistentVolumeReclaimPolicy"], "Delete");
        assert_eq!(refusal(&claim), None);
    }
}

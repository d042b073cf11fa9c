//! Which volume a claim gets.

use crate::pods::selects;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use kube::ResourceExt;
use meta::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The class annotation from before the field existed still wins.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// `None` where the claim leaves the choice to the cluster's default.
pub fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let field = claim.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
    claim.annotations().get(BETA_CLASS).map(String::as_str).or(field)
}

pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let field = volume.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
    volume.annotations().get(BETA_CLASS).map(String::as_str).or(field).unwrap_or("")
}

pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// The volume names this claim; a reference without uid names whichever claim has the name.
pub fn names(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_ref(volume).is_some_and(|r| {
        r.name == claim.metadata.name
            && r.namespace == claim.metadata.namespace
            && r.uid.as_deref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
    })
}

fn storage(amounts: Option<&BTreeMap<String, Written>>) -> Quantity {
    amounts.and_then(|a| a.get("storage")).and_then(|q| Quantity::parse(&q.0).ok()).unwrap_or(Quantity::ZERO)
}

pub fn capacity(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()))
}

pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    storage(claim.spec.as_ref().and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref()))
}

/// What must hold even for a volume that an administrator reserved for the claim.
pub fn unsuitable(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(has), Some(wants)) = (volume.spec.as_ref(), claim.spec.as_ref()) else { return Some("spec is missing") };
    if capacity(volume) < requested(claim) {
        return Some("requested PV is too small");
    }
    if class_of_volume(volume) != class_of(claim).unwrap_or("") {
        return Some("storageClassName does not match");
    }
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    if mode(&has.volume_mode) != mode(&wants.volume_mode) {
        return Some("incompatible volumeMode");
    }
    if has.volume_attributes_class_name.as_deref().unwrap_or("") != wants.volume_attributes_class_name.as_deref().unwrap_or("") {
        return Some("volumeAttributesClassName does not match");
    }
    let offered = has.access_modes.as_deref().unwrap_or_default();
    if !wants.access_modes.iter().flatten().all(|m| offered.contains(m)) {
        return Some("incompatible accessMode");
    }
    None
}

/// The volume reserved for the claim, else the smallest free one that fits. While the claim waits for
/// its consumer only a reservation counts: the scheduler chooses among the free ones.
pub fn find(volumes: &[Arc<PersistentVolume>], claim: &PersistentVolumeClaim, delayed: bool) -> Option<Arc<PersistentVolume>> {
    let suitable = |v: &&Arc<PersistentVolume>| v.metadata.deletion_timestamp.is_none() && unsuitable(v, claim).is_none();
    let reserved = volumes.iter().filter(suitable).filter(|v| names(v, claim)).min_by_key(|v| (capacity(v), v.name_any()));
    if reserved.is_some() || delayed {
        return reserved.cloned();
    }
    let selector = claim.spec.as_ref().and_then(|s| s.selector.as_ref());
    let free = volumes.iter().filter(suitable).filter(|v| {
        claim_ref(v).is_none()
            && v.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Available")
            && selector.is_none_or(|s| selects(s, v.labels()))
    });
    free.min_by_key(|v| (capacity(v), v.name_any())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volume(name: &str, size: &str, extra: Value) -> Arc<PersistentVolume> {
        let mut spec = json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c"});
        if let (Some(spec), Value::Object(extra)) = (spec.as_object_mut(), extra) {
            spec.extend(extra);
        }
        let value = json!({"metadata": {"name": name}, "spec": spec, "status": {"phase": "Available"}});
        Arc::new(serde_json::from_value(value).expect("a volume"))
    }

    fn claim(extra: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "c", "resources": {"requests": {"storage": "2Gi"}}});
        if let (Some(spec), Value::Object(extra)) = (spec.as_object_mut(), extra) {
            spec.extend(extra);
        }
        serde_json::from_value(json!({"metadata": {"name": "data", "namespace": "ns", "uid": "u1"}, "spec": spec})).expect("a claim")
    }

    fn found(volumes: &[Arc<PersistentVolume>], claim: &PersistentVolumeClaim, delayed: bool) -> Option<String> {
        find(volumes, claim, delayed).map(|v| v.name_any())
    }

    #[test]
    fn the_smallest_fitting_volume_is_taken() {
        let volumes = [volume("big", "10Gi", json!({})), volume("small", "1Gi", json!({})), volume("fits", "3Gi", json!({}))];
        assert_eq!(found(&volumes, &claim(json!({})), false).as_deref(), Some("fits"));
        assert_eq!(found(&volumes, &claim(json!({})), true), None);
    }

    #[test]
    fn a_reserved_volume_goes_before_a_smaller_free_one_and_to_nobody_else() {
        let mine = volume("mine", "10Gi", json!({"claimRef": {"namespace": "ns", "name": "data"}}));
        let theirs = volume("theirs", "2Gi", json!({"claimRef": {"namespace": "ns", "name": "data", "uid": "older"}}));
        let volumes = [volume("free", "2Gi", json!({})), mine, theirs];
        assert_eq!(found(&volumes, &claim(json!({})), false).as_deref(), Some("mine"));
        assert_eq!(found(&volumes, &claim(json!({})), true).as_deref(), Some("mine"));
        assert_eq!(found(&volumes[2..], &claim(json!({})), false), None);
    }

    #[test]
    fn class_mode_and_access_must_match() {
        let volumes = [volume("v", "2Gi", json!({}))];
        for other in [json!({"storageClassName": "d"}), json!({"volumeMode": "Block"}), json!({"accessModes": ["ReadWriteMany"]})] {
            assert_eq!(found(&volumes, &claim(other), false), None);
        }
        assert_eq!(found(&volumes, &claim(json!({"selector": {"matchLabels": {"a": "b"}}})), false), None);
    }
}

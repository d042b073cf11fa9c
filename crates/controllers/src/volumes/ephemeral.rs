//! Generic ephemeral volumes: a claim that comes and goes with its pod.

use super::Binder;
use client::{EventType, Key, reference};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use std::time::Duration;

impl Binder {
    pub(super) async fn sync_ephemeral(&self, key: &Key) -> Result<Option<Duration>, kube::Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(None) };
        if !crate::pods::active(&pod) {
            return Ok(None);
        }
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let Some(template) = volume.ephemeral.as_ref().and_then(|e| e.volume_claim_template.as_ref()) else { continue };
            let name = format!("{}-{}", key.name, volume.name);
            if let Some(known) = self.claims.get(&key.namespace, &name) {
                self.check_owner(&pod, &known);
                continue;
            }
            let given = template.metadata.clone().unwrap_or_default();
            let claim = PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some(key.namespace.clone()),
                    labels: given.labels,
                    annotations: given.annotations,
                    owner_references: Some(vec![crate::pods::controlled_by(&*pod)]),
                    ..ObjectMeta::default()
                },
                spec: Some(template.spec.clone()),
                status: None,
            };
            match self.context.api::<PersistentVolumeClaim>(&key.namespace).create(&PostParams::default(), &claim).await {
                Ok(_) => {}
                // Made by an earlier run, or in the way: the claim's arrival in the cache tells which.
                Err(error) if crate::context::code(&error) == 409 => return Ok(Some(Duration::from_secs(1))),
                Err(error) => {
                    let said = format!("ephemeral volume {}: create PVC {name}: {}", volume.name, crate::context::said(&error));
                    self.context.recorder.event(&reference(&*pod), EventType::Warning, "EphemeralVolumeFailed", said);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn check_owner(&self, pod: &Pod, claim: &PersistentVolumeClaim) {
        let owned = crate::pods::controller_of(&claim.metadata).is_some_and(|o| Some(&o.uid) == pod.metadata.uid.as_ref());
        if !owned {
            let said = format!("PVC \"{}\" exists and was not created for this pod", claim.name_any());
            self.context.recorder.event(&reference(pod), EventType::Warning, "EphemeralVolumeFailed", said);
        }
    }
}

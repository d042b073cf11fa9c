//! From a released volume to nothing.

use crate::provision::hostname_of;
use crate::{Error, PROVISIONED_BY, PROVISIONER, Provisioner, directory};
use client::{EventType, Key, reference};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use std::time::Duration;

/// Ours, given up by its claim, and to be deleted.
fn reclaimable(volume: &PersistentVolume) -> bool {
    let spec = volume.spec.as_ref();
    volume.annotations().get(PROVISIONED_BY).is_some_and(|p| p == PROVISIONER)
        && matches!(volume.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Released" | "Failed"))
        && spec.and_then(|s| s.persistent_volume_reclaim_policy.as_deref()) == Some("Delete")
}

impl Provisioner {
    pub(crate) async fn reclaim(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(cached) = self.volumes.get("", &key.name).filter(|v| reclaimable(v)) else { return Ok(None) };
        let Some(hostname) = self.hostname() else { return Ok(Some(Duration::from_secs(15))) };
        if hostname_of(&cached) != Some(hostname.as_str()) {
            return Ok(None);
        }
        // Data is about to go: the cache's word is not enough.
        let api: Api<PersistentVolume> = Api::all(self.config.informers.client());
        let Some(volume) = api.get_opt(&key.name).await?.filter(|v| v.uid() == cached.uid() && reclaimable(v)) else { return Ok(None) };
        let written = volume.spec.as_ref().and_then(|s| s.local.as_ref()).map(|l| l.path.as_str());
        let Some(path) = directory::path(&self.config.root, &key.name).filter(|p| written.is_some_and(|w| p.as_os_str() == w)) else {
            let said = "the volume's path is none this provisioner would have made; it is left alone";
            self.config.recorder.event(&reference(&volume), EventType::Warning, "VolumeFailedDelete", said.into());
            return Ok(None);
        };
        if let Err(error) = tokio::task::spawn_blocking(move || directory::remove(&path)).await? {
            self.config.recorder.event(&reference(&volume), EventType::Warning, "VolumeFailedDelete", error.to_string());
            return Err(error.into());
        }
        if volume.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let preconditions = Preconditions { uid: volume.uid(), resource_version: None };
        match api.delete(&key.name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

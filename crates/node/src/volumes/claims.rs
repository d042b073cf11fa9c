//! Claims whose volume is a directory of this machine: PersistentVolumes of the `local` and
//! `hostPath` kinds. What a CSI driver serves is handed on, where there is somebody to hand it to.

use super::{Claims, Mounted, VolumeError, host_path, ownership};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::{Api, Client, ResourceExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Mounts volumes that are no directories of this machine.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// `pv` is `None` for a volume that the pod itself describes (`csi`).
    async fn mount(
        &self,
        pod: &Pod,
        volume: &Volume,
        pv: Option<&PersistentVolume>,
        read_only: bool,
        pod_dir: &Path,
    ) -> Result<Mounted, VolumeError>;
    async fn unmount(&self, pod_uid: &str, pod_dir: &Path) -> Result<(), VolumeError>;
}

pub struct BoundClaims {
    client: Client,
    driver: Option<Arc<dyn Driver>>,
}

impl BoundClaims {
    pub fn new(client: Client, driver: Option<Arc<dyn Driver>>) -> Self {
        Self { client, driver }
    }

    /// The volume that the claim is bound to.
    async fn bound(&self, pod: &Pod, volume: &Volume, claim: &str, owned: bool) -> Result<PersistentVolume, VolumeError> {
        let namespace = pod.namespace().unwrap_or_default();
        let waiting = |why: String| {
            VolumeError::Waiting(format!("unmounted volumes=[{}]: error processing PVC {namespace}/{claim}: {why}", volume.name))
        };
        let failed = |e: kube::Error| VolumeError::of(&volume.name, e);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &namespace);
        let Some(object) = claims.get_opt(claim).await.map_err(failed)? else {
            return Err(waiting(format!("failed to fetch PVC from API server: persistentvolumeclaims {claim:?} not found")));
        };
        // Somebody else's claim that happens to have the name of the pod's own volume.
        if owned && !object.owner_references().iter().any(|o| Some(&o.uid) == pod.metadata.uid.as_ref()) {
            return Err(VolumeError::of(
                &volume.name,
                format!("PVC {namespace}/{claim} was not created for pod {namespace}/{} (pod is not owner)", pod.name_any()),
            ));
        }
        let phase = object.status.as_ref().and_then(|s| s.phase.as_deref());
        let name = object.spec.as_ref().and_then(|s| s.volume_name.clone()).filter(|n| !n.is_empty());
        let (Some("Bound"), Some(name)) = (phase, name) else { return Err(waiting("PVC is not bound".into())) };
        let pv = Api::<PersistentVolume>::all(self.client.clone()).get_opt(&name).await.map_err(failed)?;
        pv.ok_or_else(|| waiting(format!("failed to fetch PV {name:?} from API server: not found")))
    }
}

#[async_trait]
impl Claims for BoundClaims {
    async fn mount(&self, pod: &Pod, volume: &Volume, pod_dir: &Path) -> Result<Mounted, VolumeError> {
        let no_driver = || VolumeError::of(&volume.name, "no volume plugin matched: this node serves local volumes only");
        let (claim, owned, read_only) = if let Some(source) = &volume.persistent_volume_claim {
            (source.claim_name.clone(), false, source.read_only == Some(true))
        } else if volume.ephemeral.is_some() {
            (format!("{}-{}", pod.name_any(), volume.name), true, false)
        } else {
            let driver = self.driver.as_ref().ok_or_else(no_driver)?;
            return driver.mount(pod, volume, None, false, pod_dir).await;
        };
        let pv = self.bound(pod, volume, &claim, owned).await?;
        let Some(spec) = &pv.spec else { return Err(no_driver()) };
        let block = spec.volume_mode.as_deref() == Some("Block");
        let path = if let Some(local) = &spec.local {
            let path = PathBuf::from(&local.path);
            if !path.exists() {
                return Err(VolumeError::of(&volume.name, format!("path {:?} does not exist", local.path)));
            }
            path
        } else if let Some(source) = &spec.host_path {
            host_path::check(source).map_err(|why| VolumeError::of(&volume.name, why))?;
            let path = PathBuf::from(&source.path);
            if !path.exists() && !block {
                std::fs::create_dir_all(&path).map_err(|e| VolumeError::of(&volume.name, e))?;
            }
            path
        } else {
            let driver = self.driver.as_ref().ok_or_else(no_driver)?;
            return driver.mount(pod, volume, Some(&pv), read_only, pod_dir).await;
        };
        // Upstream leaves a hostPath as it is, and hands over what belongs to the claim alone.
        if let Some(group) = ownership::fs_group(pod).filter(|_| !block && spec.local.is_some() && !read_only) {
            let target = path.clone();
            let done = tokio::task::spawn_blocking(move || ownership::hand_over(&target, group, false)).await;
            done.map_err(|e| VolumeError::of(&volume.name, e))?.map_err(|e| VolumeError::of(&volume.name, e))?;
        }
        Ok(Mounted { path, read_only, block })
    }

    async fn unmount(&self, pod_uid: &str, pod_dir: &Path) -> Result<(), VolumeError> {
        match &self.driver {
            Some(driver) => driver.unmount(pod_uid, pod_dir).await,
            None => Ok(()),
        }
    }
}

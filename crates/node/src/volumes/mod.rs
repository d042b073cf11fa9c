//! The volumes of a pod on this node. What is written from the API (configMap, secret, projected,
//! downwardAPI), emptyDir and hostPath are done here; claims and CSI are handed to [`Claims`].
//!
//! Layout below `<root>/pods/<uid>/`: `volumes/kubernetes.io~<kind>/<name>` as upstream has it, so
//! that what knows the one knows the other, and `volume-subpaths/<volume>/<container>/<index>`.

pub mod atomic;
mod claims;
mod content;
mod empty_dir;
mod host_path;
pub mod mounts;
mod ownership;
pub mod subpath;
mod token;

pub use claims::{BoundClaims, Driver};

use crate::config::Config;
use crate::fields::Facts;
use crate::objects::Objects;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What a FailedMount event says of one volume.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
    Volume { volume: String, reason: String },
    #[error("volumes of pod {uid} cannot be taken down: {reason}")]
    Teardown { uid: String, reason: String },
    /// Not yet, and no fault: the volume is being attached or provisioned.
    #[error("Unable to attach or mount volumes: {0}")]
    Waiting(String),
}

impl VolumeError {
    pub fn of(volume: &str, reason: impl ToString) -> Self {
        Self::Volume { volume: volume.to_string(), reason: reason.to_string() }
    }
}

/// Where a volume is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub path: PathBuf,
    /// Whatever the container asks for.
    pub read_only: bool,
    /// A device to be passed on (`volumeDevices`), not a directory.
    pub block: bool,
}

impl Mounted {
    pub fn dir(path: PathBuf) -> Self {
        Self { path, read_only: false, block: false }
    }
}

/// Host paths by volume name.
pub type Mounts = BTreeMap<String, Mounted>;

/// What the pod worker needs of volumes.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes every volume of the pod ready. Safe to repeat; volumes that are ready stay as they are.
    async fn prepare(&self, pod: &Pod, facts: &Facts) -> Result<Mounts, VolumeError>;
    /// Writes again what has changed in the API, and says when to come back for what expires.
    async fn refresh(&self, pod: &Pod, facts: &Facts) -> Result<Option<Duration>, VolumeError>;
    /// Unmounts and removes all there is of the pod. Safe to repeat, also for an unknown pod.
    async fn teardown(&self, pod_uid: &str) -> Result<(), VolumeError>;
}

/// Volumes that outlive pods: `persistentVolumeClaim`, `ephemeral`, inline `csi`.
#[async_trait]
pub trait Claims: Send + Sync + 'static {
    /// Stages and publishes one volume; `pod_dir` is the pod's folder below the agent's root.
    async fn mount(&self, pod: &Pod, volume: &Volume, pod_dir: &Path) -> Result<Mounted, VolumeError>;
    /// Unpublishes everything of the pod, before its folder is removed.
    async fn unmount(&self, pod_uid: &str, pod_dir: &Path) -> Result<(), VolumeError>;
}

/// Used where no persistent volumes are wired.
pub struct NoClaims;

#[async_trait]
impl Claims for NoClaims {
    async fn mount(&self, _: &Pod, volume: &Volume, _: &Path) -> Result<Mounted, VolumeError> {
        Err(VolumeError::of(&volume.name, "this node serves no persistent volumes"))
    }

    async fn unmount(&self, _: &str, _: &Path) -> Result<(), VolumeError> {
        Ok(())
    }
}

pub struct PodVolumes {
    config: Arc<Config>,
    objects: Objects,
    tokens: token::Tokens,
    claims: Arc<dyn Claims>,
}

/// The volumes that are written from the API.
fn is_written(volume: &Volume) -> bool {
    volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some() || volume.downward_api.is_some()
}

impl PodVolumes {
    pub fn new(config: Arc<Config>, client: Client, objects: Objects, claims: Arc<dyn Claims>) -> Self {
        Self { config, objects, tokens: token::Tokens::new(client), claims }
    }

    async fn prepare_one(&self, pod: &Pod, volume: &Volume, facts: &Facts, dir: &Path) -> Result<Mounted, VolumeError> {
        let fail = |reason: String| VolumeError::of(&volume.name, reason);
        if is_written(volume) {
            return content::write(self, pod, volume, facts, dir).await;
        }
        if let Some(source) = &volume.empty_dir {
            let path = place(dir, "empty-dir", &volume.name);
            empty_dir::prepare(&path, source, pod, facts).map_err(fail)?;
            return Ok(Mounted::dir(path));
        }
        if let Some(source) = &volume.host_path {
            host_path::check(source).map_err(fail)?;
            return Ok(Mounted::dir(PathBuf::from(&source.path)));
        }
        if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() || volume.csi.is_some() {
            return self.claims.mount(pod, volume, dir).await;
        }
        Err(fail("no volume plugin matched".into()))
    }
}

fn place(pod_dir: &Path, kind: &str, name: &str) -> PathBuf {
    pod_dir.join("volumes").join(format!("kubernetes.io~{kind}")).join(name)
}

#[async_trait]
impl Volumes for PodVolumes {
    async fn prepare(&self, pod: &Pod, facts: &Facts) -> Result<Mounts, VolumeError> {
        let dir = self.config.pod_dir(&pod.uid().unwrap_or_default());
        let volumes: Vec<&Volume> = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).collect();
        let work = volumes.iter().map(|v| self.prepare_one(pod, v, facts, &dir));
        let mut mounts = Mounts::new();
        for (volume, done) in volumes.iter().zip(futures::future::join_all(work).await) {
            mounts.insert(volume.name.clone(), done?);
        }
        self.objects.follow(pod);
        Ok(mounts)
    }

    async fn refresh(&self, pod: &Pod, facts: &Facts) -> Result<Option<Duration>, VolumeError> {
        let uid = pod.uid().unwrap_or_default();
        let dir = self.config.pod_dir(&uid);
        self.objects.follow(pod);
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).filter(|v| is_written(v)) {
            content::write(self, pod, volume, facts, &dir).await?;
        }
        Ok(self.tokens.next_renewal(&uid))
    }

    async fn teardown(&self, pod_uid: &str) -> Result<(), VolumeError> {
        let dir = self.config.pod_dir(pod_uid);
        self.objects.unfollow(pod_uid);
        self.tokens.forget(pod_uid);
        let failed = |reason: String| VolumeError::Teardown { uid: pod_uid.to_string(), reason };
        if !dir.exists() {
            return Ok(());
        }
        mounts::unmount_below(&dir.join("volume-subpaths")).map_err(|e| failed(e.to_string()))?;
        self.claims.unmount(pod_uid, &dir).await?;
        let uid = pod_uid.to_string();
        let removed = tokio::task::spawn_blocking(move || {
            mounts::unmount_below(&dir)?;
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        });
        match removed.await {
            Ok(result) => result.map_err(|e| failed(e.to_string())),
            Err(error) => Err(VolumeError::Teardown { uid, reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests;

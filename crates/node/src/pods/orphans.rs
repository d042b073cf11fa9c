//! What the runtime and the disk hold of pods that the API has no more.

use super::core::Core;
use super::{cgroups, logs};
use crate::cri::api::{ContainerState, PodSandboxState};
use crate::cri::{Result, RuntimeError, labels};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Ends and removes everything of one pod.
pub async fn remove(core: Arc<Core>, uid: String) {
    match remove_from_runtime(&core, &uid).await {
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(uid, %error, "what is left of a pod could not be removed");
            return;
        }
    }
    if let Err(error) = core.volumes.teardown(&uid).await {
        tracing::warn!(uid, %error, "the volumes of a removed pod could not be taken down");
    }
    cgroups::remove(&core.config, &uid);
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(RuntimeError::NotFound(_)) => Ok(()),
        other => other,
    }
}

async fn remove_from_runtime(core: &Core, uid: &str) -> Result<()> {
    for container in core.runtime.list_containers(Some(uid)).await? {
        let name = container.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default();
        if container.state() == ContainerState::ContainerRunning {
            let grace = container.annotations.get(labels::POD_GRACE).and_then(|g| g.parse().ok()).unwrap_or(30);
            gone_is_fine(core.runtime.stop_container(&container.id, grace).await)?;
        }
        gone_is_fine(core.runtime.remove_container(&container.id).await)?;
        let label = |key: &str| container.labels.get(key).cloned().unwrap_or_default();
        logs::unlink(&core.config, &label(labels::POD_NAMESPACE), &label(labels::POD_NAME), &name, &container.id);
    }
    for sandbox in core.runtime.list_sandboxes(Some(uid)).await? {
        if sandbox.state() == PodSandboxState::SandboxReady {
            gone_is_fine(core.runtime.stop_sandbox(&sandbox.id).await)?;
        }
        gone_is_fine(core.runtime.stop_sandbox(&sandbox.id).await)?;
        gone_is_fine(core.runtime.remove_sandbox(&sandbox.id).await)?;
        if let Some(meta) = &sandbox.metadata {
            let _ = std::fs::remove_dir_all(core.config.pod_log_dir(&meta.namespace, &meta.name, &meta.uid));
        }
    }
    Ok(())
}

/// Uids of pods that have a folder here.
pub fn on_disk(root: PathBuf) -> HashSet<String> {
    let entries = std::fs::read_dir(root.join("pods")).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

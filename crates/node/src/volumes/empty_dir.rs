//! `emptyDir`: a folder that lives as long as its pod, on disk or in memory.

use super::{mounts, ownership};
use crate::fields::Facts;
use crate::quantities;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use meta::quantity::Quantity;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub fn prepare(path: &Path, source: &EmptyDirVolumeSource, pod: &Pod, facts: &Facts) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let fresh = !path.exists();
    match source.medium.as_deref().unwrap_or_default() {
        "" => fs::create_dir_all(path).map_err(failed)?,
        "Memory" => {
            let size = memory_size(source, pod, facts);
            mounts::tmpfs(path, &size.map(|s| format!("size={s}")).unwrap_or_default()).map_err(failed)?;
        }
        other => return Err(format!("storage medium {other:?} is not supported on this node")),
    }
    // What the containers have made of it since is theirs.
    if fresh {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        if let Some(group) = ownership::fs_group(pod) {
            ownership::hand_over(path, group, false).map_err(failed)?;
        }
    }
    Ok(())
}

/// The least of the volume's limit, the pod's memory limit and the node's memory (KEP 1967).
fn memory_size(source: &EmptyDirVolumeSource, pod: &Pod, facts: &Facts) -> Option<i64> {
    let own = source.size_limit.as_ref().map(quantities::parse).filter(|q| !q.is_zero());
    let containers = pod.spec.as_ref().map(|s| s.containers.as_slice()).unwrap_or_default();
    let limits: Option<Vec<Quantity>> = containers.iter().map(|c| quantities::limit(c.resources.as_ref(), "memory")).collect();
    let of_pod = limits.filter(|l| !l.is_empty()).map(|l| l.iter().map(Quantity::value).sum::<i64>());
    let of_node = facts.allocatable.get("memory").map(Quantity::value);
    [own.map(|q| q.value()), of_pod, of_node].into_iter().flatten().filter(|s| *s > 0).min()
}

//! `fsGroup`: volumes belong to a group that every container of the pod is in.

use k8s_openapi::api::core::v1::Pod;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

pub fn fs_group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// The user that all containers run as, if they agree: files for the pod's eyes only become theirs.
pub fn common_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|s| s.run_as_user);
    let users = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod));
    let mut common = None;
    for user in users {
        let user = user?;
        if common.is_some_and(|c| c != user) {
            return None;
        }
        common = Some(user);
    }
    u32::try_from(common?).ok()
}

/// Upstream's `SetVolumeOwnership`: the group, its permissions, and setgid on folders.
pub fn hand_over(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let info = fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if info.file_type().is_symlink() {
        return Ok(());
    }
    let mut mask = if read_only { 0o440 } else { 0o660 };
    if info.is_dir() {
        mask |= 0o2110;
    }
    fs::set_permissions(path, fs::Permissions::from_mode((info.mode() & 0o7777) | mask))?;
    if info.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), group, read_only)?;
        }
    }
    Ok(())
}

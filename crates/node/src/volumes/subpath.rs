//! `subPath`: a part of a volume for one container. The path is resolved by the kernel with the
//! volume as its bounds, and what was found is bound to a place of its own, so that a link swapped
//! in by a container in the meantime leads nowhere else (CVE-2017-1002101, CVE-2021-25741).

use super::mounts;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// `<pod>/volume-subpaths/<volume>/<container>/<index>`, bound to the part of the volume.
pub fn bind(pod_dir: &Path, volume: &str, root: &Path, container: &str, index: usize, sub_path: &str) -> io::Result<PathBuf> {
    let target = pod_dir.join("volume-subpaths").join(volume).join(container).join(index.to_string());
    if mounts::is_mounted(&target)? {
        return Ok(target);
    }
    let relative = Path::new(sub_path);
    if relative.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("subPath {sub_path:?} must stay within the volume")));
    }
    let top = fs::File::open(root)?;
    let found = match open_beneath(&top, relative) {
        Err(nix::errno::Errno::ENOENT) => {
            create(&top, relative)?;
            open_beneath(&top, relative)
        }
        other => other,
    }?;
    let is_dir = fs::metadata(format!("/proc/self/fd/{}", found.as_raw_fd()))?.is_dir();
    if is_dir {
        fs::create_dir_all(&target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::OpenOptions::new().create(true).append(true).open(&target)?;
    }
    mounts::bind(Path::new(&format!("/proc/self/fd/{}", found.as_raw_fd())), &target)?;
    Ok(target)
}

fn open_beneath(top: &fs::File, path: &Path) -> nix::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how =
        OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(top, path, how)
}

/// Missing folders get the volume's own permissions, so that whoever may write there may write here.
fn create(top: &fs::File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mode = Mode::from_bits_truncate(top.metadata()?.mode() & 0o7777);
    let group = top.metadata()?.gid();
    let mut done = PathBuf::new();
    for component in path.components() {
        let parent = open_beneath(top, &done)?;
        done.push(component);
        match nix::sys::stat::mkdirat(&parent, Path::new(component.as_os_str()), mode) {
            Ok(()) => {
                let made = open_beneath(top, &done)?;
                let place = format!("/proc/self/fd/{}", made.as_raw_fd());
                fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(mode.bits()))?;
                std::os::unix::fs::chown(&place, None, Some(group))?;
            }
            Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

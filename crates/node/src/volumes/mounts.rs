//! What is mounted where, and taking it down.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::io;
use std::path::{Path, PathBuf};

/// The mount points at or below a path, deepest first.
pub fn below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = table.lines().filter_map(mount_point).filter(|p| p.starts_with(path)).collect();
    found.sort_by_key(|p| std::cmp::Reverse(p.components().count()));
    Ok(found)
}

pub fn is_mounted(path: &Path) -> io::Result<bool> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter_map(mount_point).any(|p| p == path))
}

fn mount_point(line: &str) -> Option<PathBuf> {
    line.split(' ').nth(4).map(|field| PathBuf::from(unescaped(field)))
}

/// The kernel writes blanks and backslashes of paths in octal.
fn unescaped(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_string();
    }
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Nobody may be writing below the path: a mount that is still busy is detached.
pub fn unmount_below(path: &Path) -> io::Result<()> {
    for point in below(path)? {
        match umount2(&point, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(nix::errno::Errno::EBUSY) => umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A memory file system at the path, which is created.
pub fn tmpfs(path: &Path, options: &str) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if !is_mounted(path)? {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options))?;
    }
    Ok(())
}

pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

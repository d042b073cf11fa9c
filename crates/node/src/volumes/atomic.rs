//! Writes the files of a volume so that a reader sees either all of the old or all of the new
//! content (upstream `pkg/volume/util/atomic_writer.go`):
//!
//! ```text
//! config.yaml -> ..data/config.yaml          links that never change while the name exists
//! ..data -> ..2026_01_31_12_00_00.123456789  replaced by a rename
//! ..2026_01_31_12_00_00.123456789/config.yaml
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    pub owner: Option<u32>,
}

/// Relative path → file.
pub type Payload = BTreeMap<String, File>;

/// Makes the folder hold exactly this payload. Returns whether anything had to be written.
/// `finish` is given the new folder before anyone can see it.
pub fn write(dir: &Path, payload: &Payload, finish: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<bool> {
    for path in payload.keys() {
        check(path)?;
    }
    let old = fs::read_link(dir.join(DATA)).ok();
    if old.as_ref().is_some_and(|old| same(&dir.join(old), payload)) {
        link(dir, payload)?;
        return Ok(false);
    }
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let fresh = dir.join(&stamp);
    fs::DirBuilder::new().mode(0o755).create(&fresh)?;
    let filled = fill(&fresh, payload).and_then(|()| finish(&fresh)).and_then(|()| {
        let _ = fs::remove_file(dir.join(NEW_DATA));
        symlink(&stamp, dir.join(NEW_DATA))?;
        fs::rename(dir.join(NEW_DATA), dir.join(DATA))
    });
    if let Err(error) = filled {
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    link(dir, payload)?;
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old))?;
    }
    Ok(true)
}

/// No path may lead out of the volume or meet our own names.
fn check(path: &str) -> io::Result<()> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {path:?}: {why}")));
    let relative = Path::new(path);
    if path.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return refuse("must be relative and must not contain '..'");
    }
    if path.starts_with("..") {
        return refuse("must not start with '..'");
    }
    Ok(())
}

fn fill(dir: &Path, payload: &Payload) -> io::Result<()> {
    // The process's umask must not take permissions away, hence the second setting of each.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        let target = dir.join(path);
        if let Some(parent) = target.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::write(&target, &file.data)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
        if let Some(owner) = file.owner {
            chown(&target, Some(owner), None)?;
        }
    }
    Ok(())
}

fn same(dir: &Path, payload: &Payload) -> bool {
    let mut found = BTreeSet::new();
    if files(dir, Path::new(""), &mut found).is_err() || found.len() != payload.len() {
        return false;
    }
    payload.iter().all(|(path, file)| {
        let target = dir.join(path);
        // fsGroup adds permissions afterwards, so those asked for need only be among them.
        let mode = fs::metadata(&target).map(|m| m.mode() & 0o777).unwrap_or(0);
        found.contains(Path::new(path)) && mode & file.mode == file.mode & 0o777 && fs::read(&target).is_ok_and(|data| data == file.data)
    })
}

fn files(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

/// Puts a link for each first component, and removes links whose name is gone.
fn link(dir: &Path, payload: &Payload) -> io::Result<()> {
    let first = |path: &str| Path::new(path).components().next().map(|c| c.as_os_str().to_owned());
    let wanted: BTreeSet<OsString> = payload.keys().filter_map(|p| first(p)).collect();
    for name in &wanted {
        if fs::symlink_metadata(dir.join(name)).is_err() {
            symlink(Path::new(DATA).join(name), dir.join(name))?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b"..") && !wanted.contains(&name) {
            fs::remove_file(dir.join(&name))?;
        }
    }
    Ok(())
}

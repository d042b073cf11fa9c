//! The directories behind the volumes. Every step may be repeated after a kill at any point.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What volumes are called: the prefix and the claim's uid. Nothing else under the root is touched.
pub const PREFIX: &str = "pvc-";

/// Where the volume lies, or `None` for a name that none of ours has.
pub fn path(root: &Path, name: &str) -> Option<PathBuf> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (plain && name.len() > PREFIX.len() && name.starts_with(PREFIX)).then(|| root.join(name))
}

/// Makes the directory, on disk for good once this returns. One that is there already keeps its content.
pub fn make(directory: &Path) -> io::Result<()> {
    let root = parent(directory)?;
    fs::create_dir_all(root)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A link in its place would lead the volume somewhere else.
    if !fs::symlink_metadata(directory)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", directory.display())));
    }
    // Any user of the pod may write, whatever the process's umask says.
    fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    File::open(directory)?.sync_all()?;
    File::open(root)?.sync_all()
}

/// Removes the directory and all it holds; one that is gone is as wanted.
pub fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Ok(()) => File::open(parent(directory)?)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the directory only if nothing was ever written to it.
pub fn remove_unused(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The volumes there are on disk.
pub fn names(root: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|n| path(root, n).is_some()).map(String::from));
    }
    Ok(names)
}

fn parent(directory: &Path) -> io::Result<&Path> {
    directory.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a volume needs a directory above it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_keeps_its_content() -> io::Result<()> {
        let temporary = tempfile::tempdir()?;
        let root = temporary.path().join("volumes");
        let directory = path(&root, "pvc-1").expect("a name of ours");
        make(&directory)?;
        assert_eq!(fs::metadata(&directory)?.permissions().mode() & 0o7777, 0o777);
        fs::write(directory.join("data"), "kept")?;
        make(&directory)?;
        assert_eq!(fs::read_to_string(directory.join("data"))?, "kept");
        assert!(remove_unused(&directory).is_err());
        assert_eq!(names(&root)?, ["pvc-1"]);
        remove(&directory)?;
        remove(&directory)?;
        assert!(names(&root)?.is_empty());
        Ok(())
    }

    #[test]
    fn removal_does_not_follow_links_and_names_do_not_leave_the_root() -> io::Result<()> {
        let temporary = tempfile::tempdir()?;
        let outside = temporary.path().join("outside");
        fs::create_dir(&outside)?;
        fs::write(outside.join("data"), "kept")?;
        let root = temporary.path().join("volumes");
        let directory = path(&root, "pvc-1").expect("a name of ours");
        make(&directory)?;
        std::os::unix::fs::symlink(&outside, directory.join("link"))?;
        remove(&directory)?;
        assert_eq!(fs::read_to_string(outside.join("data"))?, "kept");
        std::os::unix::fs::symlink(&outside, &directory)?;
        assert!(make(&directory).is_err());
        for name in ["..", "pvc-", "pvc-/../x", "pvc-..", "other", ""] {
            assert_eq!(path(&root, name), None);
        }
        Ok(())
    }
}

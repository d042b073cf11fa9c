//! The directory that a store's files lie in. Tests have one that loses what was not synced.

use crate::Error;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub trait DiskFile: Send + Sync {
    /// For whoever has to be told.
    fn path(&self) -> &Path;
    fn size(&self) -> io::Result<u64>;
    /// Fills the buffer, or fails.
    fn read_at(&self, at: u64, to: &mut [u8]) -> io::Result<()>;
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Whatever was written is on the disk when this returns.
    fn sync(&self) -> io::Result<()>;
}

pub trait Disk: Send + Sync {
    fn path(&self) -> &Path;
    fn names(&self) -> io::Result<Vec<String>>;
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names are on the disk when this returns.
    fn sync(&self) -> io::Result<()>;
}

pub struct Directory(PathBuf);

impl Directory {
    pub fn make(path: PathBuf) -> Result<Self, Error> {
        std::fs::create_dir_all(&path).map_err(|e| failed(&path, &e))?;
        // The directory, and the one it is in, must be there after a power cut, too.
        for dir in path.ancestors().take(3) {
            let _ = std::fs::File::open(dir).and_then(|d| d.sync_all());
        }
        Ok(Self(path))
    }

    fn with(&self, name: &str, options: &OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.0.join(name);
        Ok(Arc::new(Plain { file: options.open(&path)?, path }))
    }
}

impl Disk for Directory {
    fn path(&self) -> &Path {
        &self.0
    }

    fn names(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(name, OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(name, OpenOptions::new().read(true).write(true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        std::fs::File::open(&self.0)?.sync_all()
    }
}

struct Plain {
    file: std::fs::File,
    path: PathBuf,
}

impl DiskFile for Plain {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, at: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(to, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// One file, wherever it lies.
pub fn open_file(path: &Path) -> Result<Arc<dyn DiskFile>, Error> {
    let file = std::fs::File::open(path).map_err(|e| failed(path, &e))?;
    Ok(Arc::new(Plain { file, path: path.into() }))
}

/// A new file of that name; its owner alone may read it.
pub fn create_file(path: &Path) -> Result<Arc<dyn DiskFile>, Error> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path).map_err(|e| failed(path, &e))?;
    Ok(Arc::new(Plain { file, path: path.into() }))
}

/// Gives a finished file its name, durably.
pub fn put_in_place(young: &Path, path: &Path) -> Result<(), Error> {
    std::fs::rename(young, path).map_err(|e| failed(path, &e))?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| failed(dir, &e))
}

/// Removes what may not be there.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(path, &e)),
        _ => Ok(()),
    }
}

/// What a failure of the disk means to whoever asked.
pub fn failed(path: &Path, error: &io::Error) -> Error {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace(text),
        io::ErrorKind::UnexpectedEof => damaged(path, "it ends too early"),
        _ => Error::Unavailable(text),
    }
}

/// What is wrong, where, and what helps.
pub fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!(
        "{}: {what}. It is left as it is. Restore the newest snapshot in the store's place: `socle snapshot restore FILE`",
        path.display()
    ))
}

//! Snapshots: a file of their own that holds one moment of the store, and can be put in its place.
//!
//! A snapshot is itself a store's file. It is written from one read transaction, so writers neither wait for it
//! nor show up halfway in it.

use super::{FILE, Shared, tables};
use crate::{Error, Revision};
use redb::{Database, ReadableDatabase, ReadableTable};
use std::path::{Path, PathBuf};

/// How far a restored store's revisions move on. Clients remember revisions from after the snapshot was taken;
/// none of them may come to mean something else.
pub const RESTORED: Revision = 1_000_000_000;

/// How the extension of a file begins that is a snapshot on its way to a reader.
pub(super) const UNFINISHED: &str = "snapshot-";

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub revision: Revision,
    /// Keys that exist at that revision.
    pub keys: usize,
    pub size_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Restored {
    pub summary: Summary,
    /// The revision that the store goes on from.
    pub revision: Revision,
    /// Where the file that was there before is now.
    pub replaced: Option<PathBuf>,
}

/// Writes what the store holds now to `path`, which appears only once it is whole.
pub(super) fn write(shared: &Shared, path: &Path) -> Result<(), Error> {
    let young = beside(path, "part");
    remove(&young)?;
    let written = tables::guarded(|| copy(shared, &young)).map_err(|text| tables::damaged_file(&shared.path, text)).flatten();
    if let Err(error) = written.and_then(|()| tables::put_in_place(&young, path)) {
        let _ = std::fs::remove_file(&young);
        return Err(error);
    }
    Ok(())
}

fn copy(shared: &Shared, path: &Path) -> Result<(), Error> {
    let database = shared.database.read().clone();
    let from = database.begin_read().map_err(|e| tables::failed(&e))?;
    let made = Database::builder().set_cache_size(super::CACHE_BYTES).create(path).map_err(|e| tables::failed(&e))?;
    tables::prepare(&made)?;
    // One transaction: redb keeps what fits its cache in memory and the rest in the file.
    let work = || -> Result<(), redb::Error> {
        let to = made.begin_write()?;
        for row in from.open_table(tables::COUNTERS)?.iter()? {
            let (name, value) = row?;
            to.open_table(tables::COUNTERS)?.insert(name.value(), value.value())?;
        }
        for row in from.open_table(tables::LEASES)?.iter()? {
            let (lease, ttl) = row?;
            to.open_table(tables::LEASES)?.insert(lease.value(), ttl.value())?;
        }
        let mut log = to.open_table(tables::LOG)?;
        for row in from.open_table(tables::LOG)?.iter()? {
            let (revision, keys) = row?;
            log.insert(revision.value(), keys.value())?;
        }
        drop(log);
        let mut history = to.open_table(tables::HISTORY)?;
        for row in from.open_table(tables::HISTORY)?.iter()? {
            let (key, record) = row?;
            history.insert(key.value(), record.value())?;
        }
        drop(history);
        Ok(to.commit()?)
    };
    work().map_err(|e| tables::failed(&e))
}

/// Verifies a snapshot, and says what is in it.
pub fn inspect(path: &Path) -> Result<Summary, Error> {
    let size_bytes = std::fs::metadata(path).map_err(|e| tables::io_failed(path, &e))?.len();
    if is_etcd(path) {
        return Err(Error::Other(format!("{} is a snapshot of etcd; `etcdutl snapshot status` reads it", path.display())));
    }
    // Verifying may write, and the snapshot is to stay as it is.
    let copy = beside(path, "verify");
    std::fs::copy(path, &copy).map_err(|e| tables::io_failed(&copy, &e))?;
    let summary = summary(&copy).map_err(|error| match error {
        Error::Corrupt(_) => Error::Corrupt(format!("{} is no whole snapshot; take an older one", path.display())),
        other => other,
    });
    remove(&copy)?;
    Ok(Summary { size_bytes, ..summary? })
}

fn summary(path: &Path) -> Result<Summary, Error> {
    let database = tables::open(path)?;
    let (index, _) = tables::guarded(|| tables::load(&database)).map_err(Error::Corrupt).flatten()?;
    let (_, _, keys) = index.range(&crate::Range { start: "\0".into(), end: "\u{10ffff}".into(), limit: 1, revision: 0 });
    Ok(Summary { revision: index.revision, keys, size_bytes: 0 })
}

/// Puts a snapshot in the place of the store in `dir`, which nobody may have open. What was there is kept beside it.
pub fn restore(snapshot: &Path, dir: &Path) -> Result<Restored, Error> {
    let summary = inspect(snapshot)?;
    std::fs::create_dir_all(dir).map_err(|e| tables::io_failed(dir, &e))?;
    let path = dir.join(FILE);
    // Held until the end, so that nobody opens what is about to be replaced.
    let _unused = match std::fs::File::open(&path) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Some(file),
            Err(_) => return Err(Error::Locked(path.display().to_string())),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(tables::io_failed(&path, &e)),
    };
    let young = beside(&path, "restored");
    std::fs::copy(snapshot, &young).map_err(|e| tables::io_failed(&young, &e))?;
    let revision = move_on(&young).inspect_err(|_| drop(std::fs::remove_file(&young)))?;
    let replaced = match _unused {
        Some(_) => {
            let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
            let old = beside(&path, &format!("replaced-{seconds}"));
            std::fs::rename(&path, &old).map_err(|e| tables::io_failed(&old, &e))?;
            Some(old)
        }
        None => None,
    };
    tables::put_in_place(&young, &path)?;
    Ok(Restored { summary, revision, replaced })
}

/// Makes everything before the restored state the forgotten past.
fn move_on(path: &Path) -> Result<Revision, Error> {
    let database = tables::open(path)?;
    let work = || -> Result<Revision, redb::Error> {
        let transaction = database.begin_write()?;
        let revision = {
            let mut counters = transaction.open_table(tables::COUNTERS)?;
            let revision = counters.get(tables::REVISION)?.map_or(1, |v| v.value()) + RESTORED;
            counters.insert(tables::REVISION, revision)?;
            counters.insert(tables::COMPACTED, revision)?;
            revision
        };
        transaction.commit()?;
        Ok(revision)
    };
    work().map_err(|e| tables::failed(&e))
}

/// Whether a file is an etcd database (bbolt): its magic number is in the first page.
fn is_etcd(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0u8; 20];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head));
    read.is_ok() && head[16..20] == 0xED0C_DAED_u32.to_le_bytes()
}

/// Removes what a process that was killed has left of snapshots.
pub(super) fn remove_unfinished(dir: &Path) {
    let prefix = format!("store.{UNFINISHED}");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // It is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(tables::io_failed(path, &e)),
        _ => Ok(()),
    }
}

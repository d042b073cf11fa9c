//! Stores as they were before: one redb file. They are read into a base when they are opened, and kept aside.

use super::base::BaseWriter;
use super::disk::{self, Directory, Disk, DiskFile};
use super::record::{Kind, Record};
use super::{load, log};
use crate::{Error, LeaseId, Revision};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const FILE: &str = "store.redb";
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// What is put in the file's place, for programs of that time would otherwise begin an empty store.
const NOTE: &str = "This store was taken over by a newer socle. It is in the directory `log` beside this file.\n";

/// Key, a zero byte, revision (big endian) → create revision, version, lease, flags, value.
const HISTORY: TableDefinition<&[u8], &[u8]> = TableDefinition::new("history");
/// Lease → time to live in milliseconds.
const LEASES: TableDefinition<i64, u64> = TableDefinition::new("leases");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const HEADER: usize = 25;
const DELETED: u8 = 1;

/// Whether a file is one of redb's.
pub fn is_old(path: &Path) -> bool {
    begins_with(path, MAGIC)
}

fn begins_with(path: &Path, what: &[u8]) -> bool {
    use std::io::Read;
    let mut head = vec![0; what.len()];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok() && head == what
}

/// The file of a store that has not been taken over, whole or not.
pub fn old_file(dir: &Path) -> Option<PathBuf> {
    let file = dir.join(FILE);
    (file.exists() && !begins_with(&file, NOTE.as_bytes())).then_some(file)
}

/// Keeps programs of that time out.
pub fn lock(dir: &Path) -> Result<Option<std::fs::File>, Error> {
    let Some(path) = old_file(dir) else { return Ok(None) };
    let file = std::fs::File::open(&path).map_err(|e| disk::failed(&path, &e))?;
    file.try_lock().map_err(|_| Error::Locked(path.display().to_string()))?;
    Ok(Some(file))
}

/// Moves an old file out of the way, and leaves a note. Without a name it gets that of one that was taken over.
pub fn set_aside(dir: &Path, to: Option<&Path>) -> Result<(), Error> {
    let Some(file) = old_file(dir) else { return Ok(()) };
    let to = to.map_or_else(|| file.with_extension("redb.taken-over"), Path::to_path_buf);
    disk::put_in_place(&file, &to)?;
    std::fs::write(&file, NOTE).map_err(|e| disk::failed(&file, &e))?;
    tracing::info!(kept = %to.display(), "the store's old file is not used any more and may be removed");
    Ok(())
}

/// Takes the old store in `dir` over, if there is one, as the first base in `logs`.
pub fn run(dir: &Path, logs: &Directory) -> Result<(), Error> {
    let names = logs.names().map_err(|e| disk::failed(logs.path(), &e))?;
    let begun = ["log", "base"].iter().any(|kind| !load::numbers(&names, kind).is_empty());
    if begun {
        // The last step of taking over was cut short.
        return set_aside(dir, None);
    }
    let Some(file) = old_file(dir) else {
        return match dir.join(FILE).exists() {
            true => Err(disk::damaged(logs.path(), "the files of the store are missing from it")),
            false => Ok(()),
        };
    };
    tracing::info!(file = %file.display(), "taking the store over into the log");
    let (young, name) = (log::name(1, "new"), log::name(1, "base"));
    let base = logs.create(&young).map_err(|e| disk::failed(&logs.path().join(&young), &e))?;
    convert(&file, base, 1, 1).inspect_err(|_| drop(logs.remove(&young)))?;
    disk::put_in_place(&logs.path().join(young), &logs.path().join(name))?;
    set_aside(dir, None)
}

/// Writes what an old store or snapshot holds to a base.
pub fn convert(path: &Path, to: Arc<dyn DiskFile>, number: u32, first: u64) -> Result<(), Error> {
    // redb trusts its pages once they are verified; one that rots meanwhile may make it panic.
    let guarded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // The checksum of every page that is in use.
        let database = Database::builder().set_cache_size(8 << 20).set_check_integrity_on_open(true).open(path);
        copy(&database.map_err(|e| open_failed(path, e))?, path, to, number, first)
    }));
    guarded.unwrap_or_else(|_| Err(disk::damaged(path, "a page of it makes no sense")))
}

fn open_failed(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Locked(path.display().to_string()),
        DatabaseError::Storage(StorageError::Io(e))
            if !matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            disk::failed(path, &e)
        }
        other => disk::damaged(path, other),
    }
}

fn copy(database: &Database, path: &Path, to: Arc<dyn DiskFile>, number: u32, first: u64) -> Result<(), Error> {
    let failed = |e: redb::Error| disk::damaged(path, e);
    let transaction = database.begin_read().map_err(|e| failed(e.into()))?;
    let counters = transaction.open_table(COUNTERS).map_err(|e| failed(e.into()))?;
    let counter = |name| counters.get(name).map(|v| v.map_or(0, |v| v.value())).map_err(|e| failed(e.into()));
    let mut writer = BaseWriter::new(to, number, first, counter("revision")?, counter("compacted")?)?;
    for row in transaction.open_table(LEASES).map_err(|e| failed(e.into()))?.iter().map_err(|e| failed(e.into()))? {
        let (lease, ttl) = row.map_err(|e| failed(e.into()))?;
        writer.lease(lease.value(), ttl.value())?;
    }
    for row in transaction.open_table(HISTORY).map_err(|e| failed(e.into()))?.iter().map_err(|e| failed(e.into()))? {
        let (key, row) = row.map_err(|e| failed(e.into()))?;
        let record = record(key.value(), row.value()).ok_or_else(|| disk::damaged(path, "a row of it cannot be read"))?;
        writer.push(&record)?;
    }
    writer.finish()
}

fn record<'a>(key: &'a [u8], row: &'a [u8]) -> Option<Record<'a>> {
    let (key, revision) = key.split_last_chunk::<8>()?;
    let word = |at: usize| row.get(at..at + 8)?.try_into().ok();
    Some(Record {
        kind: if row.get(24)? & DELETED != 0 { Kind::Delete } else { Kind::Put },
        key: std::str::from_utf8(key.strip_suffix(&[0])?).ok()?,
        value: row.get(HEADER..)?,
        revision: Revision::from_be_bytes(*revision),
        create_revision: u64::from_le_bytes(word(0)?),
        version: u64::from_le_bytes(word(8)?),
        lease: LeaseId::from_le_bytes(word(16)?),
    })
}

//! How the store lies in its file: `history` by key and revision, `log` by revision for replay,
//! `leases`, and two counters. Everything a record needs to be read alone is in it.

use super::index::{Entry, Index};
use super::leases::Leases;
use crate::{Error, KeyValue, LeaseId, Revision};
use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Key, a zero byte, revision (big endian) → record.
pub const HISTORY: TableDefinition<&[u8], &[u8]> = TableDefinition::new("history");
/// Revision → the keys it changed, each ended by a zero byte.
pub const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Lease → time to live in milliseconds.
pub const LEASES: TableDefinition<i64, u64> = TableDefinition::new("leases");
pub const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

pub const REVISION: &str = "revision";
pub const COMPACTED: &str = "compacted";

/// create revision, version, lease, flags.
const HEADER: usize = 25;
const DELETED: u8 = 1;

/// Opens, or makes, the file, and verifies the checksum of every page that is in use: a file that was altered or
/// torn is said here, and not met later by whoever reads that page.
pub fn open(path: &Path) -> Result<Database, Error> {
    if !path.try_exists().map_err(|e| io_failed(path, &e))? {
        make(path)?;
    }
    let builder = |check| {
        let mut builder = Database::builder();
        builder.set_cache_size(super::CACHE_BYTES).set_check_integrity_on_open(check);
        builder
    };
    let opened = match guarded(|| builder(true).open(path)) {
        // The check writes what it has counted. A full disk must not keep anybody from reading.
        Ok(Err(DatabaseError::Storage(StorageError::Io(e)))) if is_full(&e) => guarded(|| builder(false).open(path)),
        other => other,
    };
    opened.map_err(|e| damaged_file(path, e))?.map_err(|e| open_failed(path, e))
}

/// Makes the file under another name first, so that one of its own name is never half made.
fn make(path: &Path) -> Result<(), Error> {
    let young = path.with_extension("new");
    match std::fs::remove_file(&young) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_failed(&young, &e)),
        _ => {}
    }
    let made = Database::builder().set_cache_size(super::CACHE_BYTES).create(&young).map_err(|e| open_failed(&young, e))?;
    prepare(&made)?;
    drop(made);
    put_in_place(&young, path)
}

/// Gives a finished file its name, durably.
pub fn put_in_place(young: &Path, path: &Path) -> Result<(), Error> {
    std::fs::rename(young, path).map_err(|e| io_failed(path, &e))?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io_failed(dir, &e))
}

pub fn io_failed(path: &Path, error: &std::io::Error) -> Error {
    let text = format!("{}: {error}", path.display());
    if is_full(error) { Error::NoSpace(text) } else { Error::Other(text) }
}

fn open_failed(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Locked(path.display().to_string()),
        DatabaseError::Storage(StorageError::Io(e)) if is_full(&e) => Error::NoSpace(format!("{}: {e}", path.display())),
        DatabaseError::Storage(StorageError::Io(e))
            if !matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Error::Other(format!("{}: {e}", path.display()))
        }
        other => damaged_file(path, other),
    }
}

/// What is wrong, where, and what helps.
pub fn damaged_file(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!(
        "{}: {what}. The file is left as it is. Restore the newest snapshot in its place: `socle snapshot restore FILE`",
        path.display()
    ))
}

/// Runs what reads pages of the file. redb trusts its pages while it runs; one that rots on the disk meanwhile
/// may make it panic, which must stay this one call's error.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        format!("a page of it makes no sense ({})", text.unwrap_or("no details"))
    })
}

/// Makes the tables of an empty store.
pub fn prepare(database: &Database) -> Result<(), Error> {
    let setup = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(HISTORY)?;
        transaction.open_table(LOG)?;
        transaction.open_table(LEASES)?;
        // A store begins at revision 1, as etcd's does: 0 means "none" everywhere.
        transaction.open_table(COUNTERS)?.insert(REVISION, 1)?;
        transaction.commit()?;
        Ok(())
    };
    setup().map_err(|e| failed(&e))
}

/// Reads the index and the leases back.
pub fn load(database: &Database) -> Result<(Index, Leases), Error> {
    let transaction = database.begin_read().map_err(|e| failed(&e))?;
    let mut index = Index::default();
    let counters = transaction.open_table(COUNTERS).map_err(|e| failed(&e))?;
    let counter = |name| counters.get(name).map(|v| v.map_or(0, |v| v.value())).map_err(|e| failed(&e));
    index.revision = counter(REVISION)?;
    index.compacted = counter(COMPACTED)?;
    let history = transaction.open_table(HISTORY).map_err(|e| failed(&e))?;
    let mut last: Option<Arc<str>> = None;
    for row in history.iter().map_err(|e| failed(&e))? {
        let (key, record) = row.map_err(|e| failed(&e))?;
        let (key, revision) = split(key.value())?;
        // Rows of a key follow each other; they share one string.
        let shared = match &last {
            Some(known) if **known == *key => known.clone(),
            _ => Arc::from(key),
        };
        index.push(&shared, entry(record.value(), revision).ok_or_else(|| damaged(key, revision))?);
        last = Some(shared);
    }
    verify(&transaction.open_table(LOG).map_err(|e| failed(&e))?, &index)?;
    let mut leases = Leases::default();
    for row in transaction.open_table(LEASES).map_err(|e| failed(&e))?.iter().map_err(|e| failed(&e))? {
        let (lease, ttl) = row.map_err(|e| failed(&e))?;
        // Its clock starts anew: while the store was closed nobody could have kept it alive.
        leases.add(lease.value(), Duration::from_millis(ttl.value()));
    }
    for (key, lease) in index.leased() {
        leases.attach(lease, key);
    }
    Ok((index, leases))
}

/// The log has every revision since the last compaction, and the history has what each of them wrote: nothing
/// that was acknowledged is missing.
fn verify(log: &impl ReadableTable<u64, &'static [u8]>, index: &Index) -> Result<(), Error> {
    let mut expected = index.compacted.max(1) + 1;
    for row in log.range(expected..).map_err(|e| failed(&e))? {
        let (revision, row) = row.map_err(|e| failed(&e))?;
        if revision.value() != expected {
            break;
        }
        for key in keys(row.value())? {
            if !index.has(&key, expected) {
                return Err(Error::Corrupt(format!("revision {expected} of {key} is missing")));
            }
        }
        expected += 1;
    }
    if expected != index.revision.max(index.compacted) + 1 {
        return Err(Error::Corrupt(format!("revision {expected} is missing, and the newest is {}", index.revision)));
    }
    Ok(())
}

pub fn key(key: &str, revision: Revision) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.len() + 9);
    row.extend_from_slice(key.as_bytes());
    row.push(0);
    row.extend_from_slice(&revision.to_be_bytes());
    row
}

fn split(row: &[u8]) -> Result<(&str, Revision), Error> {
    let unreadable = || Error::Corrupt("a key in the history cannot be read".into());
    let (key, revision) = row.split_last_chunk::<8>().ok_or_else(unreadable)?;
    let key = key.strip_suffix(&[0]).and_then(|k| std::str::from_utf8(k).ok()).ok_or_else(unreadable)?;
    Ok((key, Revision::from_be_bytes(*revision)))
}

pub fn encode(entry: &Entry, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + value.len());
    record.extend_from_slice(&entry.create_revision.to_le_bytes());
    record.extend_from_slice(&entry.version.to_le_bytes());
    record.extend_from_slice(&entry.lease.to_le_bytes());
    record.push(if entry.deleted { DELETED } else { 0 });
    record.extend_from_slice(value);
    record
}

/// The bytes of a row with a value of so many.
pub fn size(value: usize) -> u32 {
    u32::try_from(HEADER + value).unwrap_or(u32::MAX)
}

fn entry(record: &[u8], revision: Revision) -> Option<Entry> {
    let word = |at: usize| record.get(at..at + 8)?.try_into().ok();
    Some(Entry {
        revision,
        create_revision: u64::from_le_bytes(word(0)?),
        version: u64::from_le_bytes(word(8)?),
        lease: LeaseId::from_le_bytes(word(16)?),
        deleted: record.get(24)? & DELETED != 0,
        size: size(record.len() - HEADER),
    })
}

pub fn decode(key: &Arc<str>, revision: Revision, record: &[u8]) -> Result<KeyValue, Error> {
    let entry = entry(record, revision).ok_or_else(|| damaged(key, revision))?;
    Ok(KeyValue {
        key: key.clone(),
        value: Bytes::copy_from_slice(record.get(HEADER..).unwrap_or_default()),
        create_revision: entry.create_revision,
        mod_revision: revision,
        version: entry.version,
        lease: entry.lease,
    })
}

fn damaged(key: &str, revision: Revision) -> Error {
    Error::Corrupt(format!("revision {revision} of {key} cannot be read"))
}

/// The keys of a row of [`LOG`].
pub fn keys(row: &[u8]) -> Result<Vec<Arc<str>>, Error> {
    let text = std::str::from_utf8(row).map_err(|_| Error::Corrupt("the log holds a key that is no text".into()))?;
    Ok(text.split_terminator('\0').map(Arc::from).collect())
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// What an error of redb means to whoever asked.
pub fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && is_full(io)
        {
            return Error::NoSpace(io.to_string());
        }
        source = error.source();
    }
    let text = error.to_string();
    let lower = text.to_lowercase();
    // redb's wrappers print their cause without always naming it as a source.
    if lower.contains("no space left") || lower.contains("quota exceeded") {
        Error::NoSpace(text)
    } else if lower.contains("corrupt") {
        Error::Corrupt(text)
    } else {
        Error::Unavailable(text)
    }
}

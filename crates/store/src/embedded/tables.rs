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

pub fn open(path: &Path) -> Result<Database, Error> {
    let opened = Database::builder().set_cache_size(super::CACHE_BYTES).create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Locked(path.display().to_string()),
        DatabaseError::Storage(StorageError::Corrupted(text)) => Error::Corrupt(format!("{}: {text}", path.display())),
        DatabaseError::Storage(StorageError::Io(e)) if e.kind() == std::io::ErrorKind::InvalidData => {
            Error::Corrupt(format!("{}: {e}", path.display()))
        }
        DatabaseError::Storage(StorageError::Io(e)) if is_full(&e) => Error::NoSpace(format!("{}: {e}", path.display())),
        other => Error::Other(format!("{}: {other}", path.display())),
    })?;
    // A store that is there is opened without writing, so that it can be read though its disk is full.
    let made = opened.begin_read().is_ok_and(|t| t.open_table(COUNTERS).is_ok());
    if made {
        return Ok(opened);
    }
    let setup = || -> Result<(), redb::Error> {
        let transaction = opened.begin_write()?;
        transaction.open_table(HISTORY)?;
        transaction.open_table(LOG)?;
        transaction.open_table(LEASES)?;
        // A store begins at revision 1, as etcd's does: 0 means "none" everywhere.
        let mut counters = transaction.open_table(COUNTERS)?;
        if counters.get(REVISION)?.is_none() {
            counters.insert(REVISION, 1)?;
        }
        drop(counters);
        transaction.commit()?;
        Ok(())
    };
    setup().map_err(|e| failed(&e))?;
    Ok(opened)
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

fn entry(record: &[u8], revision: Revision) -> Option<Entry> {
    let word = |at: usize| record.get(at..at + 8)?.try_into().ok();
    Some(Entry {
        revision,
        create_revision: u64::from_le_bytes(word(0)?),
        version: u64::from_le_bytes(word(8)?),
        lease: LeaseId::from_le_bytes(word(16)?),
        deleted: record.get(24)? & DELETED != 0,
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

//! The embedded store: one redb file, etcd's semantics on top.
//!
//! `committer` is the only writer: a thread that takes whatever writes are waiting, decides each in
//! order, and makes them durable in one transaction before anybody hears of them (group commit).
//! `index` holds every key's revisions in memory, so that a condition or a listing costs no disk read;
//! values stay in the file. `tables` says how they lie there, `watch` replays and follows.

mod committer;
mod index;
mod leases;
pub mod snapshot;
mod tables;
mod watch;

use crate::{
    Error, KeyValue, LeaseId, Range, RangeResult, Revision, SnapshotStream, Status, Store, WatchRequest, WatchStream, Write, WriteResult,
};
use async_trait::async_trait;
use bytes::BytesMut;
use committer::{Command, Published};
use futures::StreamExt;
use index::Index;
use parking_lot::RwLock;
use redb::{Database, ReadableDatabase, TableHandle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{broadcast, oneshot};

/// How many committed batches a watcher may be behind before it reads history instead.
const PUBLISHED: usize = 1024;
/// redb's page cache. The API server has a cache of objects, so this one only needs the hot pages.
const CACHE_BYTES: usize = 8 << 20;
/// How much of the past is kept at most. Whoever compacts by time keeps it far below.
const PAST_BYTES: u64 = 256 << 20;
const SNAPSHOT_CHUNK: usize = 64 << 10;
const FILE: &str = "store.redb";

pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while it is being dropped.
    commands: Option<mpsc::Sender<Command>>,
    committer: Option<std::thread::JoinHandle<()>>,
}

/// Ends with its thread, so that the file is free as soon as the store is gone.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.commands.take();
        if let Some(committer) = self.committer.take() {
            // A thread that has panicked has already said so.
            let _ = committer.join();
        }
    }
}

/// What readers and the committer share.
struct Shared {
    path: PathBuf,
    /// Replaced when redb wants reopening after an I/O error.
    database: RwLock<Arc<Database>>,
    index: RwLock<Index>,
    published: broadcast::Sender<Arc<Published>>,
    past_bytes: u64,
}

impl Embedded {
    /// Opens, or makes, the store in `dir`. One process at a time can have it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_bounded(dir, PAST_BYTES)
    }

    /// As [`open`](Self::open), with at most about `past_bytes` of history.
    pub fn open_bounded(dir: &Path, past_bytes: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|e| tables::io_failed(dir, &e))?;
        let path = dir.join(FILE);
        let database = tables::open(&path)?;
        snapshot::remove_unfinished(dir);
        Self::start(path, database, past_bytes)
    }

    fn start(path: PathBuf, database: Database, past_bytes: u64) -> Result<Self, Error> {
        let loaded = tables::guarded(|| tables::load(&database)).map_err(Error::Corrupt).flatten();
        let (index, leases) = loaded.map_err(|error| match error {
            Error::Corrupt(what) => tables::damaged_file(&path, what),
            other => other,
        })?;
        let (published, _) = broadcast::channel(PUBLISHED);
        let (database, index) = (RwLock::new(Arc::new(database)), RwLock::new(index));
        let shared = Arc::new(Shared { path, database, index, published, past_bytes });
        let (commands, inbox) = mpsc::channel();
        let committer = committer::Committer::new(shared.clone(), leases);
        let committer_thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || committer.run(inbox))
            .map_err(|e| Error::Other(format!("starting the store's thread: {e}")))?;
        Ok(Self { shared, commands: Some(commands), committer: Some(committer_thread) })
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.as_ref().ok_or_else(gone)?.send(make(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::Unavailable("the store's thread has ended".into())
}

impl Shared {
    /// Reads the values of index entries, all of one moment.
    fn read(&self, entries: &[index::Found]) -> Result<Vec<KeyValue>, Error> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        tables::guarded(|| self.read_rows(entries)).map_err(|text| tables::damaged_file(&self.path, text))?
    }

    fn read_rows(&self, entries: &[index::Found]) -> Result<Vec<KeyValue>, Error> {
        let database = self.database.read().clone();
        let transaction = database.begin_read().map_err(|e| tables::failed(&e))?;
        let history = transaction.open_table(tables::HISTORY).map_err(|e| tables::failed(&e))?;
        entries
            .iter()
            .map(|found| {
                let row = history.get(tables::key(&found.key, found.revision).as_slice()).map_err(|e| tables::failed(&e))?;
                let row = row.ok_or_else(|| {
                    Error::Corrupt(format!("revision {} of {} is missing from {}", found.revision, found.key, tables::HISTORY.name()))
                })?;
                tables::decode(&found.key, found.revision, row.value())
            })
            .collect()
    }

    fn range(&self, range: &Range) -> Result<RangeResult, Error> {
        loop {
            let (entries, more, count, revision) = {
                let index = self.index.read();
                index.check(range.revision)?;
                let (entries, more, count) = index.range(range);
                (entries, more, count, index.revision)
            };
            match self.read(&entries) {
                Ok(kvs) => return Ok(RangeResult { kvs, more, count, revision }),
                // A compaction may have passed between the index and the file: for "now" look again, for
                // the past it is the answer.
                Err(Error::Corrupt(text)) => {
                    let index = self.index.read();
                    index.check(range.revision)?;
                    if index.revision == revision && index.compacted == 0 {
                        return Err(Error::Corrupt(text));
                    }
                    if index.range(range).0 == entries {
                        return Err(Error::Corrupt(text));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        self.shared.range(&range)
    }

    async fn write(&self, write: Write) -> Result<WriteResult, Error> {
        self.ask(|answer| Command::Write { write, answer }).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        watch::start(self.shared.clone(), request)
    }

    async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.shared.index.read().revision)
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.ask(|answer| Command::Compact { revision, answer }).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.ask(|answer| Command::Grant { ttl, answer }).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.ask(|answer| Command::KeepAlive { lease, answer }).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.ask(|answer| Command::Revoke { lease, answer }).await
    }

    async fn status(&self) -> Result<Status, Error> {
        let size_bytes = std::fs::metadata(&self.shared.path).map(|m| m.len()).unwrap_or(0);
        let index = self.shared.index.read();
        let size_in_use_bytes = index.live_bytes + index.past_bytes;
        Ok(Status { revision: index.revision, compacted: index.compacted, size_bytes, size_in_use_bytes })
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let shared = self.shared.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let path = shared.path.with_extension(format!("{}{:x}", snapshot::UNFINISHED, unique()));
            snapshot::write(&shared, &path)?;
            let file = std::fs::File::open(&path).map_err(|e| tables::io_failed(&path, &e))?;
            // The open file is all that is needed, and it goes with the stream.
            std::fs::remove_file(&path).map_err(|e| tables::io_failed(&path, &e))?;
            Ok(file)
        });
        let file = opened.await.map_err(|e| Error::Other(e.to_string()))??;
        let chunks = futures::stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
            let mut chunk = BytesMut::with_capacity(SNAPSHOT_CHUNK);
            let read = file.read_buf(&mut chunk).await.map_err(|e| Error::Other(format!("reading a snapshot: {e}")))?;
            Ok((read > 0).then(|| (chunk.freeze(), file)))
        });
        Ok(chunks.boxed())
    }
}

/// Tells temporary files apart.
fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;

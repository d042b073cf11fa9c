//! The embedded store: a log that is appended to, etcd's semantics on top.
//!
//! `committer` is the only writer: a thread that takes whatever writes are waiting, decides each in
//! order (`batch`), and makes them durable in one frame at the end of the log before anybody hears of them (group commit).
//! `index` holds every key's revisions in memory, and where in which file each lies, so that a condition or a listing costs no
//! disk read; values stay in the `files`. When these are mostly of the past, `rewrite` copies what is kept into a `base`, which stands
//! for all before it. `load` reads base and log back, `watch` replays and follows. `record` says how changes lie in a file.

mod base;
mod batch;
mod committer;
mod disk;
mod files;
mod index;
mod leases;
mod load;
mod log;
mod record;
mod rewrite;
pub mod snapshot;
mod takeover;
mod watch;

use crate::{Error, LeaseId, Range, RangeResult, Revision, SnapshotStream, Status, Store, WatchRequest, WatchStream, Write, WriteResult};
use async_trait::async_trait;
use bytes::BytesMut;
use committer::{Command, Published};
use disk::{Directory, Disk};
use files::Place;
use futures::StreamExt;
use index::Index;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{broadcast, oneshot};

/// How many committed batches a watcher may be behind before it reads history instead.
const PUBLISHED: usize = 1024;
/// How much of the past is kept at most. Whoever compacts by time keeps it far below.
const PAST_BYTES: u64 = 256 << 20;
const SNAPSHOT_CHUNK: usize = 64 << 10;
/// The directory of the files, within the store's.
const LOG: &str = "log";

pub struct Embedded {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Ends the copying of files.
    stop: Arc<AtomicBool>,
    committer: Option<std::thread::JoinHandle<()>>,
    /// Held as long as the store is open.
    _lock: Option<Lock>,
}

/// Ends with its thread, so that the files are free as soon as the store is gone.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.commands.send(Command::End);
        if let Some(committer) = self.committer.take() {
            // A thread that has panicked has already said so.
            let _ = committer.join();
        }
    }
}

/// What readers and the committer share.
struct Shared {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    index: RwLock<Index>,
    published: broadcast::Sender<Arc<Published>>,
    past_bytes: u64,
    /// How many moments are being written down.
    pins: Arc<AtomicUsize>,
}

impl Shared {
    fn pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }
}

/// While it lives, a store is this process's own.
struct Lock(std::fs::File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it is not enough: a child of this process that has not come to its own program yet has it open, too.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<Lock, Error> {
    let path = dir.join("lock");
    let file = std::fs::File::options().write(true).create(true).truncate(false).open(&path).map_err(|e| disk::failed(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked(dir.display().to_string())),
        Err(std::fs::TryLockError::Error(e)) => Err(disk::failed(&path, &e)),
    }
}

impl Embedded {
    /// Opens, or makes, the store in `dir`. One process at a time can have it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_bounded(dir, PAST_BYTES)
    }

    /// As [`open`](Self::open), with at most about `past_bytes` of history.
    pub fn open_bounded(dir: &Path, past_bytes: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|e| disk::failed(dir, &e))?;
        let lock = lock(dir)?;
        snapshot::remove_unfinished(dir);
        let logs = Directory::make(dir.join(LOG))?;
        takeover::run(dir, &logs)?;
        Self::start(dir, Arc::new(logs), Some(lock), past_bytes)
    }

    fn start(dir: &Path, disk: Arc<dyn Disk>, lock: Option<Lock>, past_bytes: u64) -> Result<Self, Error> {
        let load::Loaded { index, leases, log } = load::load(disk.clone())?;
        let (published, _) = broadcast::channel(PUBLISHED);
        let shared = Shared { dir: dir.into(), disk, index: RwLock::new(index), published, past_bytes, pins: Arc::default() };
        let shared = Arc::new(shared);
        let (commands, inbox) = mpsc::channel();
        let stop = Arc::<AtomicBool>::default();
        let rewrite = rewrite::Rewrite::new(commands.clone(), stop.clone());
        let committer = committer::Committer::new(shared.clone(), leases, log, rewrite);
        let committer_thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || committer.run(inbox))
            .map_err(|e| Error::Other(format!("starting the store's thread: {e}")))?;
        Ok(Self { shared, commands, stop, committer: Some(committer_thread), _lock: lock })
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(make(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::Unavailable("the store's thread has ended".into())
}

impl Shared {
    fn range(&self, range: &Range) -> Result<RangeResult, Error> {
        let (entries, more, count, revision, files) = {
            let index = self.index.read();
            index.check(range.revision)?;
            let (entries, more, count) = index.range(range);
            (entries, more, count, index.revision, index.files.clone())
        };
        Ok(RangeResult { kvs: files.read(&entries)?, more, count, revision })
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
        let index = self.shared.index.read();
        let size_bytes = index.files.size();
        let size_in_use_bytes = index.live_bytes + index.past_bytes;
        Ok(Status { revision: index.revision, compacted: index.compacted, size_bytes, size_in_use_bytes })
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let moment = self.ask(|answer| Command::Moment { answer }).await?;
        let shared = self.shared.clone();
        let written = tokio::task::spawn_blocking(move || snapshot::write(&shared, &moment));
        let file = written.await.map_err(|e| Error::Other(e.to_string()))??;
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

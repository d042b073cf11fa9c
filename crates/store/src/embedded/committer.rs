//! The one writer. Writes that wait while a transaction is made durable share the next one; each is
//! decided against the state that includes those before it, and is answered only once it is on disk.

use super::Shared;
use super::index::Entry;
use super::leases::Leases;
use super::tables;
use crate::{Error, KeyValue, LeaseId, Op, Revision, WatchEvent, Write, WriteResult};
use bytes::Bytes;
use redb::ReadableTable;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Answer<T> = oneshot::Sender<Result<T, Error>>;

pub enum Command {
    Write { write: Write, answer: Answer<WriteResult> },
    Compact { revision: Revision, answer: Answer<()> },
    Grant { ttl: Duration, answer: Answer<LeaseId> },
    KeepAlive { lease: LeaseId, answer: Answer<()> },
    Revoke { lease: LeaseId, answer: Answer<()> },
}

/// A committed batch, as watchers get it.
pub struct Published {
    pub events: Vec<WatchEvent>,
    pub revision: Revision,
}

/// The most writes of one transaction; more would make the first wait for the last.
const BATCH: usize = 512;
/// Keys looked at, and revisions dropped from the log, in one slice of a compaction. Writes get their turn between slices.
const SLICE: usize = 1000;

pub struct Committer {
    shared: Arc<Shared>,
    leases: Leases,
    /// The database must be reopened before the next write.
    broken: bool,
    sweep: Option<Sweep>,
}

/// A compaction that is under way: decided and durable, its rows not all removed yet.
struct Sweep {
    revision: Revision,
    /// The key to go on with; none: the index is through, the log's turn.
    next: Option<Arc<str>>,
}

impl Sweep {
    fn of(revision: Revision) -> Self {
        Self { revision, next: Some(Arc::from("")) }
    }
}

/// A write that was decided and waits for its commit.
struct Decided {
    answer: Option<(Answer<WriteResult>, WriteResult)>,
}

/// What a transaction has changed so far.
#[derive(Default)]
struct Batch {
    revision: Revision,
    /// Newest entry and value of the keys it touched.
    state: HashMap<Arc<str>, (Entry, Bytes)>,
    rows: Vec<(Arc<str>, Entry, Bytes)>,
    events: Vec<WatchEvent>,
    decided: Vec<Decided>,
    ended: Vec<LeaseId>,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, leases: Leases) -> Self {
        // A compaction that the end of the process has cut short goes on.
        let compacted = shared.index.read().compacted;
        let sweep = (compacted > 0).then(|| Sweep::of(compacted));
        Self { shared, leases, broken: false, sweep }
    }

    pub fn run(mut self, inbox: Receiver<Command>) {
        loop {
            let first = if self.sweep.is_some() {
                // Between the slices of a compaction only look.
                inbox.try_recv().map_err(|e| match e {
                    std::sync::mpsc::TryRecvError::Empty => RecvTimeoutError::Timeout,
                    std::sync::mpsc::TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                match self.leases.next_end() {
                    Some(end) => inbox.recv_timeout(end.saturating_duration_since(Instant::now())),
                    None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                }
            };
            let mut writes = Vec::new();
            match first {
                Ok(command) => {
                    self.take(command, &mut writes);
                    while writes.len() < BATCH {
                        match inbox.try_recv() {
                            Ok(command) => self.take(command, &mut writes),
                            Err(_) => break,
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let ended = self.leases.ended();
            if !writes.is_empty() || !ended.is_empty() {
                self.commit(writes, ended);
                self.bound();
            }
            self.sweep();
        }
    }

    /// Keeps the past from growing without end where nobody compacts, or not as fast as others write.
    fn bound(&mut self) {
        let middle = {
            let index = self.shared.index.read();
            if self.sweep.is_some() || index.past_bytes <= self.shared.past_bytes {
                return;
            }
            index.compacted + (index.revision - index.compacted) / 2
        };
        tracing::debug!(revision = middle, "the past has become too large and is shortened");
        if let Err(error) = self.compact(middle) {
            tracing::warn!(%error, "the past could not be shortened");
        }
    }

    /// Does at once what is no write, and gathers what is.
    fn take(&mut self, command: Command, writes: &mut Vec<(Write, Answer<WriteResult>)>) {
        // An answer that nobody waits for any more is no failure, here and below.
        match command {
            Command::Write { write, answer } => writes.push((write, answer)),
            Command::Compact { revision, answer } => {
                let _ = answer.send(self.compact(revision));
            }
            Command::Grant { ttl, answer } => {
                let _ = answer.send(self.grant(ttl));
            }
            Command::KeepAlive { lease, answer } => {
                let _ = answer.send(if self.leases.keep_alive(lease) { Ok(()) } else { Err(Error::LeaseNotFound(lease)) });
            }
            Command::Revoke { lease, answer } => {
                let known = self.leases.exists(lease);
                if known {
                    // Ends with the next commit, which is this very round's.
                    self.leases.postpone(lease, Duration::ZERO);
                }
                let _ = answer.send(if known { Ok(()) } else { Err(Error::LeaseNotFound(lease)) });
            }
        }
    }

    fn commit(&mut self, writes: Vec<(Write, Answer<WriteResult>)>, ended: Vec<LeaseId>) {
        let mut batch = Batch { revision: self.shared.index.read().revision, ..Batch::default() };
        for lease in ended {
            self.end_lease(&mut batch, lease);
        }
        let mut failures = Vec::new();
        for (write, answer) in writes {
            match self.decide(&mut batch, write) {
                Ok(result) => batch.decided.push(Decided { answer: Some((answer, result)) }),
                Err(error) => failures.push((answer, error)),
            }
        }
        let stored = if batch.rows.is_empty() && batch.ended.is_empty() { Ok(()) } else { self.store(&batch) };
        if stored.is_ok() {
            self.publish(&mut batch);
        } else {
            for lease in &batch.ended {
                self.leases.postpone(*lease, Duration::from_secs(1));
            }
        }
        for mut decided in batch.decided {
            let Some((answer, result)) = decided.answer.take() else { continue };
            let result = match (&stored, &result) {
                (Err(error), WriteResult::Done { .. }) => Err(error.clone()),
                // A conflict with a write of the same batch that did not happen is no conflict.
                (Err(error), WriteResult::Conflict { .. }) => Err(error.clone()),
                (Ok(()), _) => Ok(result),
            };
            let _ = answer.send(result);
        }
        for (answer, error) in failures {
            let _ = answer.send(Err(error));
        }
    }

    /// The newest state of a key, this batch included.
    fn newest(&self, batch: &Batch, key: &str) -> Result<Option<KeyValue>, Error> {
        if let Some((key, (entry, value))) = batch.state.get_key_value(key) {
            return Ok((!entry.deleted).then(|| key_value(key, entry, value.clone())));
        }
        let found = {
            let index = self.shared.index.read();
            index.newest(key).map(|entry| super::index::Found { key: index.shared_key(key), revision: entry.revision })
        };
        match found {
            Some(found) => Ok(self.shared.read(&[found])?.pop()),
            None => Ok(None),
        }
    }

    fn decide(&mut self, batch: &mut Batch, write: Write) -> Result<WriteResult, Error> {
        let current = self.newest(batch, &write.key)?;
        let current_revision = current.as_ref().map_or(0, |kv| kv.mod_revision);
        if write.expected.is_some_and(|expected| expected != current_revision) {
            return Ok(WriteResult::Conflict { revision: batch.revision, current });
        }
        let (value, lease, deleted) = match write.op {
            Op::Put { value, lease } => (value, lease, false),
            Op::Delete => (Bytes::new(), 0, true),
        };
        if lease != 0 && !self.leases.exists(lease) {
            return Err(Error::LeaseNotFound(lease));
        }
        // Deleting what is not there changes nothing and takes no revision, as in etcd.
        if deleted && current.is_none() {
            return Ok(WriteResult::Done { revision: batch.revision, previous: None });
        }
        batch.revision += 1;
        let key = current.as_ref().map_or_else(|| Arc::from(write.key.as_str()), |kv| kv.key.clone());
        self.record(batch, key, current.clone(), value, lease, deleted);
        Ok(WriteResult::Done { revision: batch.revision, previous: current })
    }

    /// Adds a change at the batch's revision.
    fn record(&self, batch: &mut Batch, key: Arc<str>, previous: Option<KeyValue>, value: Bytes, lease: LeaseId, deleted: bool) {
        let revision = batch.revision;
        let (create_revision, version) = match (&previous, deleted) {
            (_, true) => (0, 0),
            (Some(kv), false) => (kv.create_revision, kv.version + 1),
            (None, false) => (revision, 1),
        };
        let entry = Entry { revision, deleted, create_revision, version, lease, size: tables::size(value.len()) };
        batch.events.push(if deleted {
            WatchEvent::Delete { key: key.clone(), revision, previous }
        } else {
            WatchEvent::Put { kv: key_value(&key, &entry, value.clone()), previous }
        });
        batch.state.insert(key.clone(), (entry, value.clone()));
        batch.rows.push((key, entry, value));
    }

    /// Deletes what hangs on a lease, as one revision.
    fn end_lease(&self, batch: &mut Batch, lease: LeaseId) {
        let mut keys = Vec::new();
        for key in self.leases.keys(lease) {
            match self.newest(batch, &key) {
                Ok(Some(kv)) if kv.lease == lease => keys.push(kv),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, %key, "an expired key could not be read; it will be tried again");
                    return;
                }
            }
        }
        if !keys.is_empty() {
            batch.revision += 1;
            for kv in keys {
                self.record(batch, kv.key.clone(), Some(kv), Bytes::new(), 0, true);
            }
        }
        batch.ended.push(lease);
    }

    /// Makes the batch durable.
    fn store(&mut self, batch: &Batch) -> Result<(), Error> {
        self.transact(|transaction| {
            let mut history = transaction.open_table(tables::HISTORY)?;
            let mut log = transaction.open_table(tables::LOG)?;
            let mut rows = batch.rows.iter().peekable();
            let mut keys = Vec::new();
            while let Some((key, entry, value)) = rows.next() {
                history.insert(tables::key(key, entry.revision).as_slice(), tables::encode(entry, value).as_slice())?;
                keys.extend_from_slice(key.as_bytes());
                keys.push(0);
                if rows.peek().is_none_or(|(_, next, _)| next.revision != entry.revision) {
                    log.insert(entry.revision, keys.as_slice())?;
                    keys.clear();
                }
            }
            transaction.open_table(tables::COUNTERS)?.insert(tables::REVISION, batch.revision)?;
            if !batch.ended.is_empty() {
                let mut leases = transaction.open_table(tables::LEASES)?;
                for lease in &batch.ended {
                    leases.remove(lease)?;
                }
            }
            Ok(())
        })
    }

    fn publish(&mut self, batch: &mut Batch) {
        for lease in batch.ended.drain(..) {
            self.leases.remove(lease);
        }
        let mut index = self.shared.index.write();
        for (key, entry, _) in &batch.rows {
            let shared = index.shared_key(key);
            if let Some(before) = index.newest(key)
                && before.lease != 0
                && before.lease != entry.lease
            {
                self.leases.detach(before.lease, key);
            }
            if entry.lease != 0 {
                self.leases.attach(entry.lease, &shared);
            }
            index.push(&shared, *entry);
        }
        index.revision = batch.revision;
        if !batch.events.is_empty() {
            let published = Published { events: std::mem::take(&mut batch.events), revision: batch.revision };
            // Under the index lock, so that a watch that begins now sees this batch exactly once. Nobody
            // may be listening.
            let _ = self.shared.published.send(Arc::new(published));
        }
    }

    fn grant(&mut self, ttl: Duration) -> Result<LeaseId, Error> {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos());
        let mut lease = LeaseId::try_from(seed & 0x7fff_ffff_ffff_ffff).unwrap_or(1).max(1);
        while self.leases.exists(lease) {
            lease = lease.wrapping_add(1).max(1);
        }
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.transact(|transaction| {
            transaction.open_table(tables::LEASES)?.insert(lease, millis)?;
            Ok(())
        })?;
        self.leases.add(lease, ttl);
        Ok(lease)
    }

    fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        {
            let index = self.shared.index.read();
            if revision > index.revision {
                return Err(Error::FutureRevision(revision));
            }
            if revision <= index.compacted {
                return Err(Error::Compacted { requested: revision, oldest: index.compacted });
            }
        }
        self.transact(|transaction| {
            transaction.open_table(tables::COUNTERS)?.insert(tables::COMPACTED, revision)?;
            Ok(())
        })?;
        self.shared.index.write().compacted = revision;
        self.sweep = Some(Sweep::of(revision));
        Ok(())
    }

    /// One slice of the compaction that is under way. What a crash leaves in the file is read back into the index, and
    /// swept then.
    fn sweep(&mut self) {
        let Some(Sweep { revision, next }) = self.sweep.take() else { return };
        let (dropped, next, log) = match next {
            Some(start) => {
                let (dropped, next) = self.shared.index.write().compact(revision, &start, SLICE);
                (dropped, next, false)
            }
            None => (Vec::new(), None, true),
        };
        let mut more = !log;
        if !dropped.is_empty() || log {
            let swept = self.transact(|transaction| {
                let mut history = transaction.open_table(tables::HISTORY)?;
                for found in &dropped {
                    history.remove(tables::key(&found.key, found.revision).as_slice())?;
                }
                if log {
                    let mut rows = transaction.open_table(tables::LOG)?;
                    // The compacted revision itself can still be watched from its successor only.
                    let old = rows.range(..=revision)?.take(SLICE).map(|row| row.map(|(r, _)| r.value())).collect::<Result<Vec<_>, _>>()?;
                    more = old.len() == SLICE;
                    for revision in old {
                        rows.remove(revision)?;
                    }
                }
                Ok(())
            });
            if let Err(error) = swept {
                tracing::warn!(%error, "compaction has left rows behind; they go when the store is next opened");
            }
        }
        if more {
            self.sweep = Some(Sweep { revision, next });
        }
    }

    /// One durable transaction. After an I/O error redb takes no more, so the file is opened anew; what
    /// was committed before is there.
    fn transact(&mut self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), Error> {
        if self.broken {
            self.reopen()?;
        }
        let database = self.shared.database.read().clone();
        let outcome = tables::guarded(|| {
            let transaction = database.begin_write()?;
            work(&transaction)?;
            transaction.commit()?;
            Ok(())
        });
        let outcome = outcome.map_err(|text| tables::damaged_file(&self.shared.path, text));
        outcome.and_then(|done| done.map_err(|error: redb::Error| tables::failed(&error))).inspect_err(|_| self.broken = true)
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let mut slot = self.shared.database.write();
        // Readers that are under way hold the old database a moment longer; it must be closed first.
        let waited = Instant::now();
        while Arc::strong_count(&slot) > 1 {
            if waited.elapsed() > Duration::from_secs(2) {
                return Err(Error::Unavailable("the store is being reopened after an I/O error".into()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let placeholder = redb::Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|e| Error::Other(e.to_string()))?;
        *slot = Arc::new(placeholder);
        let reopened = tables::open(&self.shared.path);
        let database = reopened?;
        *slot = Arc::new(database);
        self.broken = false;
        Ok(())
    }
}

fn key_value(key: &Arc<str>, entry: &Entry, value: Bytes) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value,
        create_revision: entry.create_revision,
        mod_revision: entry.revision,
        version: entry.version,
        lease: entry.lease,
    }
}

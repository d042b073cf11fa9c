//! The one writer. Writes that wait while a frame is made durable share the next one; each is
//! decided against the state that includes those before it, and is answered only once it is on disk.

use super::Shared;
use super::base::{Moment, Pin};
use super::batch::Batch;
use super::leases::Leases;
use super::log::Log;
use super::record::{Frame, Kind, Record};
use super::rewrite::{Rewrite, Rewritten};
use crate::{Error, LeaseId, Revision, WatchEvent, Write, WriteResult};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Answer<T> = oneshot::Sender<Result<T, Error>>;

pub enum Command {
    Write {
        write: Write,
        answer: Answer<WriteResult>,
    },
    Compact {
        revision: Revision,
        answer: Answer<()>,
    },
    Grant {
        ttl: Duration,
        answer: Answer<LeaseId>,
    },
    KeepAlive {
        lease: LeaseId,
        answer: Answer<()>,
    },
    Revoke {
        lease: LeaseId,
        answer: Answer<()>,
    },
    /// Holds the moment, to be written down by whoever asks.
    Moment {
        answer: Answer<Moment>,
    },
    /// The base that was being written is whole, or has failed.
    Rewritten(Result<Rewritten, Error>),
    /// Nothing comes after it.
    End,
}

/// A committed batch, as watchers get it.
pub struct Published {
    pub events: Vec<WatchEvent>,
    pub revision: Revision,
}

/// The most writes of one frame, and about the most bytes; more would make the first wait for the last.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 << 20;
/// Keys looked at, and revisions forgotten, in one slice of a compaction. Writes get their turn between slices.
const SLICE: usize = 1000;

pub struct Committer {
    shared: Arc<Shared>,
    leases: Leases,
    log: Log,
    frame: Frame,
    sweep: Option<Sweep>,
    rewrite: Rewrite,
    ended: bool,
}

/// A compaction that is under way: decided and durable, not everything forgotten yet.
struct Sweep {
    revision: Revision,
    /// The key to go on with; none: the keys are through, the changes' turn.
    next: Option<Arc<str>>,
}

impl Sweep {
    fn of(revision: Revision) -> Self {
        Self { revision, next: Some(Arc::from("")) }
    }
}

type Waiting = Vec<(Write, Answer<WriteResult>)>;

impl Committer {
    pub fn new(shared: Arc<Shared>, leases: Leases, log: Log, rewrite: Rewrite) -> Self {
        Self { shared, leases, log, frame: Frame::default(), sweep: None, rewrite, ended: false }
    }

    pub fn run(mut self, inbox: Receiver<Command>) {
        while !self.ended {
            let first = if self.has_work() {
                // Between the slices of work only look.
                inbox.try_recv().map_err(|e| match e {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                match self.leases.next_end() {
                    Some(end) => inbox.recv_timeout(end.saturating_duration_since(Instant::now())),
                    None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                }
            };
            let mut writes = Vec::new();
            match first {
                Ok(command) => self.gather(command, &inbox, &mut writes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let ended = self.leases.ended();
            if !writes.is_empty() || !ended.is_empty() {
                self.commit(writes, ended);
                self.bound();
            }
            self.sweep();
            self.rewrite.step(&self.shared, &mut self.log, &self.leases);
        }
        self.rewrite.end();
    }

    fn has_work(&self) -> bool {
        (self.sweep.is_some() && !self.shared.pinned()) || self.rewrite.has_work()
    }

    /// Takes what waits, as far as one frame has room for it.
    fn gather(&mut self, first: Command, inbox: &Receiver<Command>, writes: &mut Waiting) {
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(command) = next {
            if let Command::Write { write: Write { op: crate::Op::Put { value, .. }, .. }, .. } = &command {
                bytes += value.len();
            }
            self.take(command, writes);
            next = if writes.len() < BATCH && bytes < BATCH_BYTES { inbox.try_recv().ok() } else { None };
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
    fn take(&mut self, command: Command, writes: &mut Waiting) {
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
            Command::Moment { answer } => {
                let _pin = Some(Pin::new(&self.shared.pins));
                let _ = answer.send(Ok(Moment { _pin, ..moment(&self.shared, &self.log, &self.leases) }));
            }
            Command::Rewritten(outcome) => self.rewrite.written(&self.shared, outcome),
            Command::End => self.ended = true,
        }
    }

    fn commit(&mut self, writes: Waiting, ended: Vec<LeaseId>) {
        let mut batch = Batch::of(self.shared.index.read().revision);
        self.frame.clear();
        for lease in ended {
            batch.end_lease(&self.shared, &self.leases, &mut self.frame, lease);
        }
        let mut decided = Vec::with_capacity(writes.len());
        for (write, answer) in writes {
            decided.push((answer, batch.decide(&self.shared, &self.leases, &mut self.frame, write)));
        }
        let stored = if batch.is_empty() { Ok(()) } else { self.store(&mut batch) };
        if stored.is_err() {
            for lease in &batch.ended {
                self.leases.postpone(*lease, Duration::from_secs(1));
            }
        }
        for (answer, result) in decided {
            let result = match (&stored, result) {
                // Nor is a conflict with a write of the same batch, which did not happen, a conflict.
                (Err(error), Ok(_)) => Err(error.clone()),
                (_, result) => result,
            };
            let _ = answer.send(result);
        }
    }

    /// Makes the batch durable, then known.
    fn store(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let (file, at) = self.log.append(&mut self.frame)?;
        let mut index = self.shared.index.write();
        self.add_active(&mut index);
        batch.enter(&mut index, &mut self.leases, file, at);
        if !batch.events.is_empty() {
            let published = Published { events: std::mem::take(&mut batch.events), revision: batch.revision };
            // Under the index lock, so that a watch that begins now sees this batch exactly once. Nobody
            // may be listening.
            let _ = self.shared.published.send(Arc::new(published));
        }
        Ok(())
    }

    /// The log may have gone on to a new file.
    fn add_active(&self, index: &mut super::index::Index) {
        let active = &self.log.active;
        if !index.files.0.contains_key(&active.number) {
            Arc::make_mut(&mut index.files).0.insert(active.number, active.file.clone());
        }
    }

    /// Makes a record durable that changes no key.
    fn note(&mut self, record: &Record) -> Result<(), Error> {
        self.frame.clear();
        self.frame.push(record);
        self.log.append(&mut self.frame)?;
        self.add_active(&mut self.shared.index.write());
        Ok(())
    }

    fn grant(&mut self, ttl: Duration) -> Result<LeaseId, Error> {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos());
        let mut lease = LeaseId::try_from(seed & 0x7fff_ffff_ffff_ffff).unwrap_or(1).max(1);
        while self.leases.exists(lease) {
            lease = lease.wrapping_add(1).max(1);
        }
        let version = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.note(&Record { lease, version, ..Record::plain(Kind::Grant) })?;
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
        self.note(&Record { revision, ..Record::plain(Kind::Compacted) })?;
        self.shared.index.write().compacted = revision;
        self.sweep = Some(Sweep::of(revision));
        Ok(())
    }

    /// One slice of the compaction that is under way. It only forgets; what then lies useless in the files goes when they are
    /// rewritten.
    fn sweep(&mut self) {
        if self.shared.pinned() {
            return;
        }
        let Some(Sweep { revision, next }) = self.sweep.take() else { return };
        let mut index = self.shared.index.write();
        self.sweep = match next {
            Some(start) => Some(Sweep { revision, next: index.compact(revision, &start, SLICE) }),
            None => index.forget_changes(revision, SLICE).then_some(Sweep { revision, next: None }),
        };
    }
}

/// This moment, between two commits.
pub fn moment(shared: &Shared, log: &Log, leases: &Leases) -> Moment {
    let index = shared.index.read();
    Moment { revision: index.revision, compacted: index.compacted, leases: leases.all(), first: log.next, _pin: None }
}

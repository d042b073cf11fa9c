//! The seam for state, with etcd's semantics: one counter of revisions, compare-and-swap on a key's
//! revision, ranges at a revision, watches from a revision, compaction, leases.
//!
//! `embedded` keeps it in one file, `etcd` in a real etcd; `suite` is the behaviour both must show.

pub mod embedded;
pub mod etcd;
pub mod suite;

pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdConfig};

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A point in the store's history. 0 means "now" in requests.
pub type Revision = u64;
pub type LeaseId = i64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Arc<str>,
    pub value: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// Writes since creation, 1 for the first.
    pub version: u64,
    pub lease: LeaseId,
}

#[derive(Clone, Debug, Default)]
pub struct Range {
    pub start: String,
    /// Exclusive; empty means the single key `start`.
    pub end: String,
    /// 0 is no limit.
    pub limit: usize,
    /// 0 is the newest.
    pub revision: Revision,
}

impl Range {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &str) -> Self {
        Self { start: prefix.into(), end: prefix_end(prefix), ..Self::default() }
    }
}

#[derive(Clone, Debug)]
pub struct RangeResult {
    pub kvs: Vec<KeyValue>,
    /// The limit cut the answer short.
    pub more: bool,
    /// Keys in the range, the limit aside.
    pub count: usize,
    /// The store's revision when it answered.
    pub revision: Revision,
}

/// A conditional write of one key: applied only if the key's mod revision is `expected` (0: absent).
#[derive(Clone, Debug)]
pub struct Write {
    pub key: String,
    /// `None` writes whatever is there.
    pub expected: Option<Revision>,
    pub op: Op,
}

#[derive(Clone, Debug)]
pub enum Op {
    Put { value: Bytes, lease: LeaseId },
    Delete,
}

#[derive(Clone, Debug)]
pub enum WriteResult {
    /// Durable. `revision` is the write's own; `previous` what it replaced.
    Done { revision: Revision, previous: Option<KeyValue> },
    /// The expectation failed; `current` is what is there.
    Conflict { revision: Revision, current: Option<KeyValue> },
}

#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// `previous` is there when the watch asked for it and history still has it.
    Put {
        kv: KeyValue,
        previous: Option<KeyValue>,
    },
    Delete {
        key: Arc<str>,
        revision: Revision,
        previous: Option<KeyValue>,
    },
}

/// What a watch delivers, in revision order, a revision never split over two batches.
#[derive(Clone, Debug)]
pub enum WatchBatch {
    Events {
        events: Vec<WatchEvent>,
        revision: Revision,
    },
    /// Nothing for this watch up to and including this revision.
    Progress(Revision),
}

#[derive(Clone, Debug)]
pub struct WatchRequest {
    pub start: String,
    pub end: String,
    /// The first revision to deliver; 0 means from now on.
    pub from: Revision,
    pub previous: bool,
}

pub type SnapshotStream = futures::stream::BoxStream<'static, Result<Bytes, Error>>;
pub type WatchStream = futures::stream::BoxStream<'static, Result<WatchBatch, Error>>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("revision {requested} has been compacted; the oldest available is {oldest}")]
    Compacted { requested: Revision, oldest: Revision },
    #[error("revision {0} is in the future")]
    FutureRevision(Revision),
    #[error("lease {0} not found")]
    LeaseNotFound(LeaseId),
    /// Nothing was written; it may work later (no quorum, no connection).
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The outcome of a write is not known.
    #[error("no answer from the store in time: {0}")]
    Timeout(String),
    #[error("no space left for the store: {0}")]
    NoSpace(String),
    #[error("{0} is in use by another process")]
    Locked(String),
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    #[error("{0}")]
    Other(String),
}

#[derive(Clone, Debug)]
pub struct Status {
    pub revision: Revision,
    pub compacted: Revision,
    pub size_bytes: u64,
    pub size_in_use_bytes: u64,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn range(&self, range: Range) -> Result<RangeResult, Error>;
    async fn write(&self, write: Write) -> Result<WriteResult, Error>;
    /// Starts once the store has accepted it: events after this returns are not missed.
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error>;
    /// The newest revision, linearizable.
    async fn revision(&self) -> Result<Revision, Error>;
    /// Forgets history up to `revision`; reads and watches below it answer [`Error::Compacted`].
    async fn compact(&self, revision: Revision) -> Result<(), Error>;
    /// Keys attached to a lease go when it is not kept alive for `ttl`.
    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, Error>;
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), Error>;
    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), Error>;
    async fn status(&self) -> Result<Status, Error>;
    /// One moment of the whole store as the bytes of a file, to be restored with the implementation's own means.
    async fn snapshot(&self) -> Result<SnapshotStream, Error>;
    /// Gives space that is no longer used back to the disk, and says how many places did. Costs the store's users
    /// little: a cluster does it one member at a time, and only where it is worth it.
    async fn defragment(&self) -> Result<usize, Error> {
        Ok(0)
    }
}

/// The first key after all keys that start with `prefix`. Keys are printable ASCII, so the last byte
/// can always be raised.
pub fn prefix_end(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    String::from_utf8(bytes).unwrap_or_default()
}

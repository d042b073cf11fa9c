//! The seam over a real etcd v3: transactions that compare a mod revision, watches, leases. What fails, fails in
//! time and says whether it may have happened; what one member cannot do is asked of the next.

mod convert;
mod members;
mod revision;
mod upkeep;
mod watch;

use crate::{
    Error, LeaseId, Op, Range, RangeResult, Revision, SnapshotStream, Status, Store, WatchRequest, WatchStream, Write, WriteResult,
};
use async_trait::async_trait;
use bytes::Bytes;
use convert::{key_value, revision_of, signed, unsigned};
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use futures::StreamExt;
use members::{Failure, Members, PATIENCE, failure};
use revision::Revisions;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// `http://` or `https://` URLs of the members.
    pub endpoints: Vec<String>,
    /// PEM texts.
    pub ca: Option<Vec<u8>>,
    pub certificate: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    /// A member's file is defragmented when it is larger than this, and more than half of it is unused.
    pub defragment_above: u64,
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self { endpoints: Vec::new(), ca: None, certificate: None, key: None, defragment_above: 100 << 20 }
    }
}

/// How long a member may be silent about a write before another is asked what has become of it.
const ATTEMPT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Etcd {
    members: Arc<Members>,
    revisions: Revisions,
    defragment_above: u64,
}

impl Etcd {
    pub async fn connect(config: &EtcdConfig) -> Result<Self, Error> {
        let members = Arc::new(Members::new(config).await?);
        let revisions = Revisions::new(members.clone());
        let store = Self { members, revisions, defragment_above: config.defragment_above };
        // Channels connect lazily; whether anybody is there is known after a first answer.
        store.revision().await?;
        Ok(store)
    }

    /// What may happen once and cannot be looked up afterwards.
    async fn once<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.members.once(ask, Instant::now() + PATIENCE, PATIENCE).await.map_err(Failure::error)
    }
}

/// Puts the number that was asked for into an error that etcd gives without it.
fn about(error: Error, revision: Revision) -> Error {
    match error {
        Error::Compacted { oldest, .. } => Error::Compacted { requested: revision, oldest },
        Error::FutureRevision(_) => Error::FutureRevision(revision),
        other => other,
    }
}

fn transaction(write: &Write) -> Txn {
    let op = match &write.op {
        Op::Put { value, lease } => TxnOp::put(write.key.as_str(), &value[..], Some(PutOptions::new().with_prev_key().with_lease(*lease))),
        Op::Delete => TxnOp::delete(write.key.as_str(), Some(DeleteOptions::new().with_prev_key())),
    };
    let compare = write.expected.map(|revision| Compare::mod_revision(write.key.as_str(), CompareOp::Equal, signed(revision)));
    Txn::new().when(compare.into_iter().collect::<Vec<_>>()).and_then([op]).or_else([TxnOp::get(write.key.as_str(), None)])
}

fn outcome(response: &TxnResponse) -> Result<WriteResult, Error> {
    let revision = revision_of(response.header());
    let first = response.op_responses().into_iter().next();
    if response.succeeded() {
        let previous = match &first {
            Some(TxnOpResponse::Put(put)) => put.prev_key().map(key_value).transpose()?,
            Some(TxnOpResponse::Delete(deleted)) => deleted.prev_kvs().first().map(key_value).transpose()?,
            _ => None,
        };
        return Ok(WriteResult::Done { revision, previous });
    }
    let current = match &first {
        Some(TxnOpResponse::Get(get)) => get.kvs().first().map(key_value).transpose()?,
        _ => None,
    };
    Ok(WriteResult::Conflict { revision, current })
}

/// What a write that was asked for twice came to, the first answer being lost: a conflict with what it wanted to
/// write itself is the first one's success.
fn settled(write: &Write, result: WriteResult) -> WriteResult {
    match (&write.op, result) {
        (Op::Put { value, .. }, WriteResult::Conflict { current: Some(current), .. }) if current.value == *value => {
            WriteResult::Done { revision: current.mod_revision, previous: None }
        }
        (Op::Delete, WriteResult::Conflict { current: None, revision }) => WriteResult::Done { revision, previous: None },
        (_, result) => result,
    }
}

#[async_trait]
impl Store for Etcd {
    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        let mut options = GetOptions::new().with_revision(signed(range.revision)).with_limit(signed(range.limit as u64));
        if !range.end.is_empty() {
            // Key order is etcd's default; asking for it sorts again.
            options = options.with_range(range.end.as_str()).with_sort(SortTarget::Key, SortOrder::None);
        }
        let (start, options) = (range.start.as_str(), &options);
        let ask = |client: Client| async move { client.kv_client().get(start, Some(options.clone())).await };
        let response = self.members.read(ask).await.map_err(|e| about(e, range.revision))?;
        Ok(RangeResult {
            kvs: response.kvs().iter().map(key_value).collect::<Result<_, _>>()?,
            more: response.more(),
            count: usize::try_from(response.count()).unwrap_or(0),
            revision: revision_of(response.header()),
        })
    }

    async fn write(&self, write: Write) -> Result<WriteResult, Error> {
        let txn = transaction(&write);
        let ask = |client: Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        if write.expected.is_none() {
            return outcome(&self.once(ask).await?);
        }
        let end = Instant::now() + PATIENCE;
        let mut lost = false;
        loop {
            match self.members.once(&ask, end, ATTEMPT).await {
                Ok(response) if lost => return Ok(settled(&write, outcome(&response)?)),
                Ok(response) => return outcome(&response),
                // The comparison lets it happen once only, so it can be asked again.
                Err(Failure::Unknown(_)) if Instant::now() + ATTEMPT < end => lost = true,
                Err(Failure::NotDone(error)) if lost => return Err(Error::Timeout(error.to_string())),
                Err(failure) => return Err(failure.error()),
            }
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        watch::start(self.members.clone(), request).await
    }

    async fn revision(&self) -> Result<Revision, Error> {
        self.revisions.newest().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let ask = |client: Client| async move { client.kv_client().compact(signed(revision), None).await };
        self.once(ask).await.map(drop).map_err(|e| about(e, revision))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        // etcd counts whole seconds.
        let seconds = signed(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1);
        // One too many ends by itself, so this may be asked twice.
        let ask = |client: Client| async move { client.lease_client().grant(seconds, None).await };
        Ok(self.members.read(ask).await?.id())
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        let ask = |client: Client| async move {
            let (mut keeper, mut answers) = client.lease_client().keep_alive(lease).await?;
            keeper.keep_alive().await?;
            answers.message().await
        };
        match self.members.read(ask).await.map_err(|e| lease_error(e, lease))? {
            Some(answer) if answer.ttl() > 0 => Ok(()),
            _ => Err(Error::LeaseNotFound(lease)),
        }
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let ask = |client: Client| async move { client.lease_client().revoke(lease).await };
        self.members.read(ask).await.map(drop).map_err(|e| lease_error(e, lease))
    }

    async fn status(&self) -> Result<Status, Error> {
        let ask = |client: Client| async move { client.maintenance_client().status().await };
        let status = self.members.read(ask).await?;
        Ok(Status {
            revision: revision_of(status.header()),
            compacted: 0,
            size_bytes: unsigned(status.db_size()),
            size_in_use_bytes: unsigned(status.raft_used_db_size()),
        })
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let ask = |client: Client| async move { client.maintenance_client().snapshot().await };
        let stream = self.members.read(ask).await?;
        let chunks = futures::stream::try_unfold(stream, |mut stream| async move {
            let part = stream.message().await.map_err(|e| failure(&e).error())?;
            Ok(part.map(|part| (Bytes::copy_from_slice(part.blob()), stream)))
        });
        Ok(chunks.boxed())
    }

    async fn defragment(&self) -> Result<usize, Error> {
        upkeep::defragment(self).await
    }
}

/// etcd-client says a missing lease in its own error where the stream was opened.
fn lease_error(error: Error, lease: LeaseId) -> Error {
    match error {
        Error::LeaseNotFound(_) => Error::LeaseNotFound(lease),
        Error::Unavailable(text) if text.contains("keep alive") => Error::LeaseNotFound(lease),
        other => other,
    }
}

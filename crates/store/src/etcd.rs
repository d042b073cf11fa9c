//! The seam over a real etcd v3: transactions that compare a mod revision, watches, leases. The
//! channel reconnects by itself; what was asked meanwhile fails in time and says whether it may have
//! happened.

mod watch;

use crate::{
    Error, KeyValue, LeaseId, Op, Range, RangeResult, Revision, SnapshotStream, Status, Store, WatchRequest, WatchStream, Write,
    WriteResult,
};
use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, GetOptions, Identity, PutOptions, SortOrder, SortTarget,
    TlsOptions, Txn, TxnOp, TxnOpResponse,
};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct EtcdConfig {
    /// `http://` or `https://` URLs of the members.
    pub endpoints: Vec<String>,
    /// PEM texts.
    pub ca: Option<Vec<u8>>,
    pub certificate: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
}

/// How long a request may take before its outcome counts as unknown. Kubernetes' own is 5 to 10 s.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Clone)]
pub struct Etcd {
    client: Client,
}

impl Etcd {
    pub async fn connect(config: &EtcdConfig) -> Result<Self, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(3))
            .with_keep_alive(Duration::from_secs(10), Duration::from_secs(5))
            .with_keep_alive_while_idle(true);
        if config.endpoints.iter().any(|e| e.starts_with("https://")) {
            let mut tls = TlsOptions::new();
            if let Some(ca) = &config.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        let client = Client::connect(&config.endpoints, Some(options)).await.map_err(|e| failed(&e))?;
        let store = Self { client };
        // The channel connects lazily; whether anybody is there is known after a first answer.
        store.revision().await?;
        Ok(store)
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(result) => result.map_err(|e| failed(&e)),
        Err(_) => Err(Error::Timeout(format!("etcd did not answer within {} s", PATIENCE.as_secs()))),
    }
}

fn failed(error: &etcd_client::Error) -> Error {
    let etcd_client::Error::GRpcStatus(status) = error else { return Error::Unavailable(error.to_string()) };
    let text = status.message();
    // The texts are etcd's API (api/v3rpc/rpctypes/error.go); several share a code.
    if text.contains("required revision has been compacted") {
        Error::Compacted { requested: 0, oldest: 0 }
    } else if text.contains("required revision is a future revision") {
        Error::FutureRevision(0)
    } else if text.contains("requested lease not found") {
        Error::LeaseNotFound(0)
    } else if text.contains("database space exceeded") {
        Error::NoSpace(text.into())
    } else if text.contains("timed out") || text.contains("Timeout expired") || text.contains("deadline") {
        Error::Timeout(text.into())
    } else if text.contains("no leader") || text.contains("leader changed") || text.contains("too many requests") {
        Error::Unavailable(text.into())
    } else {
        match i32::from(status.code()) {
            // Unavailable is also what a connection that broke after the request was sent looks like.
            14 | 1 | 2 => Error::Timeout(text.into()),
            _ => Error::Other(text.into()),
        }
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

fn key_value(kv: &etcd_client::KeyValue) -> Result<KeyValue, Error> {
    Ok(KeyValue {
        key: key_text(kv)?,
        value: Bytes::copy_from_slice(kv.value()),
        create_revision: unsigned(kv.create_revision()),
        mod_revision: unsigned(kv.mod_revision()),
        version: unsigned(kv.version()),
        lease: kv.lease(),
    })
}

fn key_text(kv: &etcd_client::KeyValue) -> Result<Arc<str>, Error> {
    kv.key_str().map(Arc::from).map_err(|_| Error::Corrupt("etcd holds a key that is no text".into()))
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> Revision {
    header.map_or(0, |h| unsigned(h.revision()))
}

#[async_trait]
impl Store for Etcd {
    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        let mut options = GetOptions::new().with_revision(signed(range.revision)).with_limit(signed(range.limit as u64));
        if !range.end.is_empty() {
            // Key order is etcd's default; asking for it sorts again.
            options = options.with_range(range.end.clone()).with_sort(SortTarget::Key, SortOrder::None);
        }
        let mut kv = self.client.kv_client();
        let response = in_time(kv.get(range.start.clone(), Some(options))).await.map_err(|e| about(e, range.revision))?;
        Ok(RangeResult {
            kvs: response.kvs().iter().map(key_value).collect::<Result<_, _>>()?,
            more: response.more(),
            count: usize::try_from(response.count()).unwrap_or(0),
            revision: revision_of(response.header()),
        })
    }

    async fn write(&self, write: Write) -> Result<WriteResult, Error> {
        let delete = matches!(write.op, Op::Delete);
        let op = match write.op {
            Op::Put { value, lease } => {
                TxnOp::put(write.key.clone(), value.to_vec(), Some(PutOptions::new().with_prev_key().with_lease(lease)))
            }
            Op::Delete => TxnOp::delete(write.key.clone(), Some(DeleteOptions::new().with_prev_key())),
        };
        let compare = write.expected.map(|revision| Compare::mod_revision(write.key.clone(), CompareOp::Equal, signed(revision)));
        let transaction =
            Txn::new().when(compare.into_iter().collect::<Vec<_>>()).and_then([op]).or_else([TxnOp::get(write.key.clone(), None)]);
        let mut kv = self.client.kv_client();
        let response = in_time(kv.txn(transaction)).await?;
        let revision = revision_of(response.header());
        let first = response.op_responses().into_iter().next();
        if response.succeeded() {
            let previous = match &first {
                Some(TxnOpResponse::Put(put)) => put.prev_key().map(key_value).transpose()?,
                Some(TxnOpResponse::Delete(deleted)) => deleted.prev_kvs().first().map(key_value).transpose()?,
                _ => None,
            };
            debug_assert!(delete || revision > 0);
            return Ok(WriteResult::Done { revision, previous });
        }
        let current = match &first {
            Some(TxnOpResponse::Get(get)) => get.kvs().first().map(key_value).transpose()?,
            _ => None,
        };
        Ok(WriteResult::Conflict { revision, current })
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        watch::start(self.client.clone(), request).await
    }

    async fn revision(&self) -> Result<Revision, Error> {
        // A linearizable read of a key that need not exist; only the header counts.
        let mut kv = self.client.kv_client();
        let response = in_time(kv.get("\0", Some(GetOptions::new().with_count_only()))).await?;
        Ok(revision_of(response.header()))
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let mut kv = self.client.kv_client();
        in_time(kv.compact(signed(revision), None)).await.map(drop).map_err(|e| about(e, revision))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let mut leases = self.client.lease_client();
        // etcd counts whole seconds.
        let seconds = signed(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1);
        Ok(in_time(leases.grant(seconds, None)).await?.id())
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        let mut leases = self.client.lease_client();
        let (mut keeper, mut answers) = in_time(leases.keep_alive(lease)).await.map_err(|e| lease_error(e, lease))?;
        in_time(keeper.keep_alive()).await?;
        match in_time(answers.message()).await? {
            Some(answer) if answer.ttl() > 0 => Ok(()),
            _ => Err(Error::LeaseNotFound(lease)),
        }
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let mut leases = self.client.lease_client();
        in_time(leases.revoke(lease)).await.map(drop).map_err(|e| lease_error(e, lease))
    }

    async fn status(&self) -> Result<Status, Error> {
        let mut maintenance = self.client.maintenance_client();
        let status = in_time(maintenance.status()).await?;
        Ok(Status {
            revision: revision_of(status.header()),
            compacted: 0,
            size_bytes: unsigned(status.db_size()),
            size_in_use_bytes: unsigned(status.raft_used_db_size()),
        })
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let mut maintenance = self.client.maintenance_client();
        let stream = in_time(maintenance.snapshot()).await?;
        let chunks = futures::stream::try_unfold(stream, |mut stream| async move {
            let part = stream.message().await.map_err(|e| failed(&e))?;
            Ok(part.map(|part| (Bytes::copy_from_slice(part.blob()), stream)))
        });
        Ok(chunks.boxed())
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

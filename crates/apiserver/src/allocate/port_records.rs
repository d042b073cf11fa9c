//! The records of node ports in the store: whose each of them is.

use super::ports::ports;
use crate::registry::store_error;
use crate::server::ApiServer;
use bytes::Bytes;
use jiff::Timestamp;
use meta::{ApiError, GroupResource, value};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use store::{KeyValue, Op, Range, Store, Write, WriteResult};

const RECORDS: &str = "/registry/ranges/nodeports/";
/// A Service whose ports were taken so many seconds ago, and that is not there, was never made.
const YOUNG: i64 = 180;

/// Whose a port is.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    pub namespace: String,
    pub name: String,
    uid: String,
    /// When it was taken, in seconds.
    since: i64,
}

impl Record {
    pub fn of(namespace: &str, service: &Value) -> Self {
        let text = |field| value::text(service, &["metadata", field]).to_string();
        Self { namespace: namespace.into(), name: text("name"), uid: text("uid"), since: Timestamp::now().as_second() }
    }

    fn read(kv: &KeyValue) -> Option<Self> {
        serde_json::from_slice(&kv.value).ok()
    }

    /// Of two Services of one name only one can come to be, so the record of the one is good for the other.
    fn good_for(&self, other: &Self) -> bool {
        (&self.namespace, &self.name) == (&other.namespace, &other.name)
    }
}

fn key(port: i64) -> String {
    format!("{RECORDS}{port}")
}

async fn find(store: &dyn Store, port: i64) -> Result<Option<KeyValue>, ApiError> {
    Ok(store.range(Range { start: key(port), ..Range::default() }).await.map_err(store_error)?.kvs.pop())
}

/// Makes the record of a port; false if it is another's.
pub async fn take(store: &dyn Store, port: i64, owner: &Record, dry_run: bool) -> Result<bool, ApiError> {
    if dry_run {
        return Ok(find(store, port).await?.is_none_or(|kv| Record::read(&kv).is_some_and(|r| r.good_for(owner))));
    }
    let op = Op::Put { value: Bytes::from(serde_json::to_vec(owner).unwrap_or_default()), lease: 0 };
    let mut expected = 0;
    loop {
        let write = Write { key: key(port), expected: Some(expected), op: op.clone() };
        match store.write(write).await.map_err(store_error)? {
            WriteResult::Done { .. } => return Ok(true),
            WriteResult::Conflict { current: None, .. } => expected = 0,
            WriteResult::Conflict { current: Some(current), .. } => match Record::read(&current) {
                Some(there) if there.good_for(owner) => expected = current.mod_revision,
                _ => return Ok(false),
            },
        }
    }
}

/// Removes the record of a port if it is still the Service's with this uid.
pub async fn give_up(store: &dyn Store, port: i64, uid: &str) -> Result<(), ApiError> {
    if let Some(kv) = find(store, port).await?.filter(|kv| Record::read(kv).is_none_or(|r| r.uid == uid)) {
        // A conflict is somebody else's taking it.
        let write = Write { key: key(port), expected: Some(kv.mod_revision), op: Op::Delete };
        store.write(write).await.map_err(store_error)?;
    }
    Ok(())
}

/// The ports of a Service but those that `kept` has.
pub async fn give_back(server: &ApiServer, service: &Value, kept: Option<&Value>) {
    let kept: HashSet<i64> = kept.map(ports).unwrap_or_default().into_iter().collect();
    for port in ports(service).into_iter().filter(|p| !kept.contains(p)) {
        if let Err(error) = give_up(&**server.store(), port, value::text(service, &["metadata", "uid"])).await {
            tracing::warn!(port, error = error.message, "cannot free the node port yet");
        }
    }
}

/// Removes records whose Service does not have the port, or never came to be.
pub async fn sweep(server: &ApiServer) -> Result<(), ApiError> {
    let found = server.store().range(Range::prefix(RECORDS)).await.map_err(store_error)?;
    server.settle(Some(found.revision)).await?;
    let services = GroupResource::new("", "services");
    let now = Timestamp::now().as_second();
    for kv in found.kvs {
        let (Some(record), Ok(port)) = (Record::read(&kv), kv.key[RECORDS.len()..].parse()) else { continue };
        let service = server.objects().get(&services, &record.namespace, &record.name);
        let held = service.is_some_and(|s| s.uid() == record.uid && ports(&s.value()).contains(&port));
        if !held && record.since + YOUNG < now {
            give_up(&**server.store(), port, &record.uid).await?;
        }
    }
    Ok(())
}

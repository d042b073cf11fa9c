//! Writing an object: from the served version to bytes in the store.

use super::{Task, cache};
use crate::catalog::Resource;
use crate::conversion;
use crate::watch_cache::Encoded;
use meta::{ApiError, GroupVersion, value};
use serde_json::Value;
use std::time::{Duration, Instant};
use store::{Op, Revision, Write, WriteResult};

/// How long a write waits until readers see it. It is written all the same.
const SEEN: Duration = Duration::from_secs(5);

pub enum Outcome {
    Done(Revision),
    /// Somebody else was faster.
    Conflict,
}

/// `expected`: the revision that must be there; 0: nothing may be there.
pub async fn put(task: &Task<'_>, name: &str, object: &Value, expected: Revision) -> Result<Outcome, ApiError> {
    let cache = cache(task.resource)?;
    let place = cache.storage_key(task.namespace, name);
    let encoded = encode(task.resource, &*conversion::to_stored(task.resource, object).await?);
    let value = cache.transformer().seal(encoded.bytes.clone(), &place).map_err(ApiError::internal)?;
    // Another version than the stored one has to go through its conversion.
    let lends = !task.resource.is_view();
    let _lent = lends.then(|| cache.lend(task.namespace, name, object, encoded, value.clone()));
    let Some(ttl) = task.resource.kind.time_to_live() else {
        return write(task, place, expected, Op::Put { value, lease: 0 }).await.map_err(store_error);
    };
    let inner = &task.server.inner;
    let mut again = true;
    loop {
        let lease = inner.leases.get(&*inner.core.store, ttl).await.map_err(store_error)?;
        match write(task, place.clone(), expected, Op::Put { value: value.clone(), lease }).await {
            // Somebody has revoked it, or it has run out while nobody wrote.
            Err(store::Error::LeaseNotFound(_)) if again => {
                inner.leases.forget(lease).await;
                again = false;
            }
            result => return result.map_err(store_error),
        }
    }
}

pub async fn remove(task: &Task<'_>, name: &str, expected: Revision) -> Result<Outcome, ApiError> {
    let place = cache(task.resource)?.storage_key(task.namespace, name);
    write(task, place, expected, Op::Delete).await.map_err(store_error)
}

async fn write(task: &Task<'_>, key: String, expected: Revision, op: Op) -> Result<Outcome, store::Error> {
    let inner = &task.server.inner;
    let operation = match (&op, expected) {
        (Op::Delete, _) => "delete",
        (Op::Put { .. }, 0) => "create",
        (Op::Put { .. }, _) => "update",
    };
    let began = Instant::now();
    let result = inner.core.store.write(Write { key, expected: Some(expected), op }).await;
    inner.metrics.storage.asked(operation, &task.resource.group_resource, result.is_err(), began.elapsed());
    match result? {
        WriteResult::Done { revision, .. } => {
            // So that whoever hears of the write finds it, admission's plugins included.
            if !inner.core.feed.reached(revision, SEEN).await {
                tracing::warn!(revision, "the watch cache is behind the store");
            }
            Ok(Outcome::Done(revision))
        }
        WriteResult::Conflict { .. } => {
            inner.metrics.storage.conflicts.inc();
            Ok(Outcome::Conflict)
        }
    }
}

/// The stored form: the stored version, without the revision, which is the store's own to say.
fn encode(resource: &Resource, object: &Value) -> Encoded {
    let Some(stored) = resource.kind.stored_as() else { return Encoded::of(object) };
    let mut object = object.clone();
    (stored.to_stored)(&mut object);
    value::set(&mut object, &["apiVersion"], GroupVersion::new(stored.group, stored.version).to_string());
    Encoded::of(&object)
}

pub fn store_error(error: store::Error) -> ApiError {
    use store::Error;
    match error {
        Error::Compacted { requested, oldest } => ApiError::expired(format!("too old resource version: {requested} ({oldest})")),
        Error::Unavailable(text) => ApiError::unavailable(text),
        Error::Timeout(text) => ApiError::timeout(text),
        // Upstream gives no reason either.
        Error::NoSpace(text) => ApiError::new(500, "", format!("etcdserver: mvcc: database space exceeded ({text})")),
        error => ApiError::internal(error),
    }
}

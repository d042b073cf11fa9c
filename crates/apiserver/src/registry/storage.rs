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
    let encoded = encode(task.resource, &*conversion::to_stored(task.resource, object).await?);
    let bytes = encoded.bytes.clone();
    // Another version than the stored one has to go through its conversion.
    let lends = !task.resource.is_view();
    let _lent = if lends { Some(cache(task.resource)?.lend(task.namespace, name, object, encoded, bytes.clone())) } else { None };
    write(task, name, expected, Op::Put { value: bytes, lease: 0 }).await
}

pub async fn remove(task: &Task<'_>, name: &str, expected: Revision) -> Result<Outcome, ApiError> {
    write(task, name, expected, Op::Delete).await
}

async fn write(task: &Task<'_>, name: &str, expected: Revision, op: Op) -> Result<Outcome, ApiError> {
    let key = cache(task.resource)?.storage_key(task.namespace, name);
    let inner = &task.server.inner;
    let operation = match (&op, expected) {
        (Op::Delete, _) => "delete",
        (Op::Put { .. }, 0) => "create",
        (Op::Put { .. }, _) => "update",
    };
    let began = Instant::now();
    let result = inner.core.store.write(Write { key, expected: Some(expected), op }).await;
    inner.metrics.storage.asked(operation, &task.resource.group_resource, result.is_err(), began.elapsed());
    let result = result.map_err(store_error)?;
    match result {
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
    match &error {
        Error::Compacted { requested, oldest } => ApiError::expired(format!("too old resource version: {requested} ({oldest})")),
        Error::Unavailable(_) => ApiError::unavailable(error.to_string()),
        Error::Timeout(_) => ApiError::timeout(error.to_string()),
        Error::NoSpace(_) => ApiError::new(507, "", error.to_string()),
        _ => ApiError::internal(error),
    }
}

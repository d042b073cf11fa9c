//! The object in the version that a webhook or policy asked for, and back in the request's.

use super::Request;
use super::matching::Match;
use crate::conversion::between;
use kinds::Kind;
use meta::{ApiError, managed, value};
use serde_json::Value;
use std::sync::Arc;

fn differs(request: &Request<'_>, found: &Match) -> bool {
    !Arc::ptr_eq(&found.resource, request.resource) && request.is_whole()
}

pub async fn to(request: &Request<'_>, found: &Match, object: Option<Value>) -> Result<Option<Value>, ApiError> {
    match object {
        Some(object) if differs(request, found) => between(request.resource, &found.resource, object).await.map(Some),
        object => Ok(object),
    }
}

pub async fn from(request: &Request<'_>, found: &Match, object: Value) -> Result<Value, ApiError> {
    if differs(request, found) { between(&found.resource, request.resource, object).await } else { Ok(object) }
}

/// What the object is that is shown, if the server knows it by itself.
pub fn kind(request: &Request<'_>, found: &Match) -> Option<Arc<dyn Kind>> {
    if request.is_whole() {
        return Some(found.resource.kind.clone());
    }
    let catalog = request.server.catalog();
    catalog.by_kind(&request.kind.group, &request.kind.version, &request.kind.kind).map(|r| r.kind.clone())
}

/// What was made of `before` from outside: without what its kind does not know, with its defaults, and with owners of
/// its fields that can be read.
pub fn normal(request: &Request<'_>, found: &Match, before: &Value, mut object: Value) -> Result<Value, ApiError> {
    const OWNERS: [&str; 2] = ["metadata", "managedFields"];
    if let Err(error) = managed::check(&object) {
        request.warnings.add(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission \
             controller; please fix your requests: {error}"
        ));
        value::remove(&mut object, &OWNERS);
        value::carry(&mut object, before, &OWNERS);
    }
    let Some(kind) = kind(request, found) else { return Ok(object) };
    meta::decode::check(&kind.schema(), &mut object).map_err(|e| ApiError::internal(e.0))?;
    kind.default(&mut object);
    Ok(object)
}

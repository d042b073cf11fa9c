//! One object.

use super::{Call, revision, view};
use crate::body::Body;
use crate::conversion;
use crate::negotiate::Shape;
use crate::objects::Object;
use bytes::Bytes;
use http::{Response, StatusCode};
use meta::ApiError;
use std::sync::Arc;

pub async fn object(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let object = find(call).await?;
    match call.output.shape {
        Shape::Object => {
            let bytes = view::encoded(call.resource, Shape::Object, &object.bytes, true);
            Ok(call.output.respond_parts(StatusCode::OK, vec![bytes, Bytes::from_static(b"\n")]))
        }
        _ => call.respond(StatusCode::OK, &view::served(call.resource, &object.bytes)),
    }
}

/// As fresh as the client demands.
pub async fn find(call: &Call<'_>) -> Result<Arc<Object>, ApiError> {
    call.server.settle(revision(call.query.text("resourceVersion"))?).await?;
    let cache = call.cache()?;
    cache.readable(call.namespace, call.name)?;
    let found = cache.get(call.namespace, call.name);
    let found = found.ok_or_else(|| ApiError::not_found(&call.resource.group_resource, call.name))?;
    conversion::read_one(call.resource, found).await
}

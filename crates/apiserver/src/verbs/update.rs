//! Whole objects, or what a subresource lets through of them.

use super::{Call, patch};
use crate::body::Body;
use crate::registry::{self, Changed, Part};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use kinds::Subresource;
use meta::ApiError;
use serde_json::Value;

pub async fn object(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    run(call, Part::Main, call.resource.kind.create_on_update(), body).await
}

pub async fn part(call: &Call<'_>, subresource: &Subresource, body: Bytes) -> Result<Response<Body>, ApiError> {
    run(call, patch::part_of(subresource), false, body).await
}

async fn run(call: &Call<'_>, part: Part, may_create: bool, body: Bytes) -> Result<Response<Body>, ApiError> {
    let task = call.task("UpdateOptions")?;
    let decode = || -> Result<Value, ApiError> {
        let mut object = registry::decode(&task, call.headers.get(CONTENT_TYPE), &body)?;
        registry::check_name(&task, call.name, &mut object)?;
        Ok(object)
    };
    // Decoding again is for the rare change that has to be tried again.
    let mut first = Some(decode()?);
    let mut change = |_: Option<&Value>| Ok(Changed::new(first.take().map_or_else(decode, Ok)?));
    let (object, created) = registry::update(&task, call.name, part, may_create, &mut change).await?;
    call.respond_written(&task, if created { StatusCode::CREATED } else { StatusCode::OK }, &object)
}

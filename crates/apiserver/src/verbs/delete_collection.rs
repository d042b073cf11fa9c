//! The end of all objects that match.

use super::select::Selection;
use super::{Call, list};
use crate::body::Body;
use crate::conversion;
use crate::objects::Object;
use crate::registry::{self, DeleteOptions};
use crate::watch_cache::Snapshot;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Response;
use http::header::CONTENT_TYPE;
use meta::ApiError;
use std::sync::Arc;

/// Under way at once, so that they share what makes them durable.
const TOGETHER: usize = 128;

pub async fn objects(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::parse(call.query, call.headers.get(CONTENT_TYPE), &body)?;
    let attributes = &call.context.attributes;
    let selection = Selection::parse(call.resource, &attributes.label_selector, &attributes.field_selector)?;
    call.server.settle(None).await?;
    let cache = call.cache()?;
    let objects = list::matching(call, cache, &selection).await?;
    let revision = cache.revision();
    let (mut waiting, mut running) = (objects.iter(), FuturesUnordered::new());
    loop {
        while running.len() < TOGETHER
            && let Some(object) = waiting.next()
        {
            running.push(delete(call, object, &options));
        }
        match running.next().await {
            Some(deleted) => deleted?,
            None => break,
        }
    }
    drop(running);
    // As upstream does, it answers what it has found rather than what has become of it.
    let objects = conversion::read(call.resource, objects).await?;
    Ok(list::respond(call, &Snapshot { objects, revision, more: false, remaining: 0 }, false))
}

async fn delete(call: &Call<'_>, object: &Arc<Object>, options: &DeleteOptions) -> Result<(), ApiError> {
    let mut task = call.task("DeleteOptions")?;
    task.options.dry_run = options.dry_run;
    task.namespace = object.namespace();
    match registry::delete(&task, object.name(), options).await {
        // Gone already, which is what was wanted.
        Err(error) if error.reason == "NotFound" => Ok(()),
        other => other.map(drop),
    }
}

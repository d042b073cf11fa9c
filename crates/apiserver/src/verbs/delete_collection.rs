//! The end of all objects that match.

use super::select::Selection;
use super::{Call, list, view};
use crate::body::Body;
use crate::conversion;
use crate::registry::{self, DeleteOptions};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use meta::ApiError;
use serde_json::{Value, json};

pub async fn objects(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::parse(call.query, call.headers.get(CONTENT_TYPE), &body)?;
    let attributes = &call.context.attributes;
    let selection = Selection::parse(call.resource, &attributes.label_selector, &attributes.field_selector)?;
    call.server.settle(None).await?;
    let cache = call.cache()?;
    let found = list::matching(call, cache, &selection);
    let revision = cache.revision();
    let mut items = Vec::with_capacity(found.len());
    for object in found {
        let mut task = call.task("DeleteOptions")?;
        task.options.dry_run = options.dry_run;
        task.namespace = object.namespace();
        match registry::delete(&task, object.name(), &options).await {
            Ok(deleted) => items.push(deleted.object),
            // Gone already, which is what was wanted.
            Err(error) if error.reason == "NotFound" => {
                let object = conversion::read_one(call.resource, object.clone()).await?;
                items.push(view::served(call.resource, &object.bytes));
            }
            Err(error) => return Err(error),
        }
    }
    let names = call.resource.kind.names();
    let list: Value = json!({
        "kind": names.list_kind, "apiVersion": call.resource.api_version,
        "metadata": {"resourceVersion": revision.to_string()}, "items": items,
    });
    Ok(call.output.respond(StatusCode::OK, &list))
}

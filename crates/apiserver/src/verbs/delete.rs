//! One object's end.

use super::Call;
use crate::body::Body;
use crate::registry::{self, DeleteOptions, Deleted};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use meta::{ApiError, value};
use serde_json::{Value, json};

pub async fn object(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::parse(call.query, call.headers.get(CONTENT_TYPE), &body)?;
    let mut task = call.task("DeleteOptions")?;
    task.options.dry_run = options.dry_run;
    let deleted = registry::delete(&task, call.name, &options).await?;
    if !deleted.gone {
        return call.respond(StatusCode::OK, &deleted.object);
    }
    Ok(call.output.respond(StatusCode::OK, &status(call, &deleted)))
}

fn status(call: &Call<'_>, deleted: &Deleted) -> Value {
    let resource = &call.resource.group_resource;
    let mut details = json!({"name": call.name, "kind": resource.resource, "uid": value::text(&deleted.object, &["metadata", "uid"])});
    if !resource.group.is_empty() {
        details["group"] = resource.group.as_str().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

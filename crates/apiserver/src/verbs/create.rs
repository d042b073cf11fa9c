//! New objects.

use super::Call;
use crate::body::Body;
use crate::negotiate;
use crate::registry::{self, Changed, Part};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use kinds::kind::Mutation;
use meta::{ApiError, value};
use serde_json::Value;

pub async fn create(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let task = call.task("CreateOptions")?;
    let object = registry::decode(&task, call.headers.get(CONTENT_TYPE), &body)?;
    let created = registry::create(&task, object, false).await?;
    call.respond(StatusCode::CREATED, &created)
}

/// A create below an object, which changes that object (`pods/binding`).
pub async fn part(call: &Call<'_>, kind: (&str, &str, &str), mutate: Mutation, body: Bytes) -> Result<Response<Body>, ApiError> {
    let task = call.task("CreateOptions")?;
    let (mut request, _) = negotiate::decode(call.headers.get(CONTENT_TYPE), &body)?;
    let (_, version, name) = kind;
    let given = value::text(&request, &["kind"]);
    if !request.is_object() || !(given.is_empty() || given == name) {
        return Err(ApiError::bad_request(format!("{given} in version \"{version}\" cannot be handled as a {name}")));
    }
    let about = value::text(&request, &["metadata", "name"]);
    if about.is_empty() {
        value::set(&mut request, &["metadata", "name"], call.name);
    } else if about != call.name {
        let why = format!("the name of the object ({about}) does not match the name on the URL ({})", call.name);
        return Err(ApiError::bad_request(why));
    }
    let mut answer = Value::Null;
    let mut change = |old: Option<&Value>| {
        let mut object = old.cloned().unwrap_or_default();
        answer = mutate(&mut object, &request)?;
        Ok(Changed::new(object))
    };
    registry::update(&task, call.name, Part::Decided, false, &mut change).await?;
    Ok(call.output.respond(StatusCode::CREATED, &answer))
}

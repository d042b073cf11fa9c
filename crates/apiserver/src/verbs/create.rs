//! New objects.

use super::Call;
use crate::admission::Operation;
use crate::body::Body;
use crate::negotiate;
use crate::registry::{self, Changed, Part, Shown};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use kinds::kind::Mutation;
use meta::{ApiError, GroupVersion, GroupVersionKind, value};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

pub async fn create(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let task = call.task("CreateOptions")?;
    let object = registry::decode(&task, call.headers.get(CONTENT_TYPE), &body)?;
    let created = registry::create(&task, object, false).await?;
    call.respond_written(&task, StatusCode::CREATED, &created)
}

/// A create below an object, which changes that object (`pods/binding`).
pub async fn part(call: &Call<'_>, kind: (&str, &str, &str), mutate: Mutation, body: Bytes) -> Result<Response<Body>, ApiError> {
    let task = call.task("CreateOptions")?;
    let (mut request, _) = negotiate::decode(call.headers.get(CONTENT_TYPE), &body)?;
    let (group, version, name) = (kind.0, if kind.1.is_empty() { "v1" } else { kind.1 }, kind.2);
    let given = value::text(&request, &["kind"]);
    if !request.is_object() || !(given.is_empty() || given == name) {
        return Err(ApiError::bad_request(format!("{given} in version \"{version}\" cannot be handled as a {name}")));
    }
    value::set(&mut request, &["apiVersion"], GroupVersion::new(group, version).to_string());
    value::set(&mut request, &["kind"], name);
    if !call.namespace.is_empty() {
        value::default(&mut request, &["metadata", "namespace"], call.namespace);
    }
    let about = value::text(&request, &["metadata", "name"]);
    if about.is_empty() {
        value::set(&mut request, &["metadata", "name"], call.name);
    } else if about != call.name {
        let why = format!("the name of the object ({about}) does not match the name on the URL ({})", call.name);
        return Err(ApiError::bad_request(why));
    }
    let answer = Arc::new(Mutex::new(Value::Null));
    let mut change = |old: Option<&Value>| {
        let answer = answer.clone();
        let put = move |request: &Value, object: &mut Value| {
            *answer.lock() = mutate(object, request)?;
            Ok(())
        };
        let shown = Shown {
            operation: Operation::Create,
            kind: GroupVersionKind::new(group, version, name),
            object: request.clone(),
            old: None,
            put: Box::new(put),
        };
        Ok(Changed { shown: Some(shown), ..Changed::new(old.cloned().unwrap_or_default()) })
    };
    registry::update(&task, call.name, Part::Bound, false, &mut change).await?;
    let answer = answer.lock();
    Ok(call.output.respond(StatusCode::CREATED, &answer))
}

//! `/scale`: how many there are and shall be, in one form for all scalable kinds.

use super::patch::{Patch, check_options};
use super::{Call, get, view};
use crate::admission::Operation;
use crate::body::Body;
use crate::negotiate;
use crate::registry::{self, Changed, Part, Shown};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use kinds::ScalePaths;
use meta::schema::Schema;
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, GroupVersionKind, labels, value};
use serde_json::{Value, json};

fn path(steps: &[String]) -> Vec<&str> {
    steps.iter().map(String::as_str).collect()
}

fn scale_of(object: &Value, paths: &ScalePaths) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        value::carry(&mut metadata, &object["metadata"], &[field]);
    }
    let replicas = |steps: &[String]| value::int(object, &path(steps)).unwrap_or(0);
    let mut status = json!({"replicas": replicas(&paths.status_replicas)});
    let selector = match value::at(object, &path(&paths.selector)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        // A plain map of labels is a selector too (ReplicationController).
        Some(map) if map.get("matchLabels").is_none() && map.get("matchExpressions").is_none() => {
            labels::Selector::from_map(map).to_string()
        }
        Some(selector) => labels::Selector::from_value(selector).map(|s| s.to_string()).unwrap_or_default(),
    };
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": replicas(&paths.spec_replicas)}, "status": status,
    })
}

pub async fn get(call: &Call<'_>, paths: &ScalePaths) -> Result<Response<Body>, ApiError> {
    let object = get::find(call).await?;
    let scale = scale_of(&view::served(call.resource, &object.bytes), paths);
    Ok(call.output.respond(StatusCode::OK, &scale))
}

pub async fn update(call: &Call<'_>, paths: &ScalePaths, body: Bytes) -> Result<Response<Body>, ApiError> {
    let (scale, _) = negotiate::decode(call.headers.get(CONTENT_TYPE), &body)?;
    let given = value::text(&scale, &["metadata", "name"]).to_string();
    if !given.is_empty() && given != call.name {
        return Err(ApiError::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({})", call.name)));
    }
    run(call, paths, "UpdateOptions", &|_| Ok(scale.clone())).await
}

pub async fn patch(call: &Call<'_>, paths: &ScalePaths, body: Bytes) -> Result<Response<Body>, ApiError> {
    let (patch, _) = Patch::parse(call, &body)?;
    check_options(&call.task("PatchOptions")?, &patch)?;
    let schema = Schema::any();
    run(call, paths, "PatchOptions", &|old| patch.apply_to(&schema, old)).await
}

type Make<'m> = dyn Fn(Value) -> Result<Value, ApiError> + Send + Sync + 'm;

async fn run(call: &Call<'_>, paths: &ScalePaths, options: &'static str, make: &Make<'_>) -> Result<Response<Body>, ApiError> {
    let task = call.task(options)?;
    let unconditional = task.attributes.verb == "update" && !call.resource.custom;
    let mut change = |old: Option<&Value>| -> Result<Changed, ApiError> {
        let object = old.cloned().unwrap_or_default();
        let before = scale_of(&object, paths);
        let mut scale = make(before.clone())?;
        check(call.name, &scale)?;
        for field in ["kind", "apiVersion"] {
            value::carry(&mut scale, &before, &[field]);
        }
        let (name, paths) = (call.name.to_string(), paths.clone());
        let put = move |scale: &Value, object: &mut Value| {
            check(&name, scale)?;
            put(scale, object, &paths, unconditional);
            Ok(())
        };
        let shown = Shown {
            operation: Operation::Update,
            kind: GroupVersionKind::new("autoscaling", "v1", "Scale"),
            object: scale,
            old: Some(before),
            put: Box::new(put),
        };
        Ok(Changed { shown: Some(shown), ..Changed::new(object) })
    };
    let (object, _) = registry::update(&task, call.name, Part::Decided, false, &mut change).await?;
    Ok(call.output.respond(StatusCode::OK, &scale_of(&object, paths)))
}

fn put(scale: &Value, object: &mut Value, paths: &ScalePaths, unconditional: bool) {
    // Its revision and uid are what the client demands of the object.
    for field in ["resourceVersion", "uid"] {
        if !value::text(scale, &["metadata", field]).is_empty() {
            value::carry(object, scale, &["metadata", field]);
        }
    }
    if unconditional && value::text(scale, &["metadata", "resourceVersion"]).is_empty() {
        value::remove(object, &["metadata", "resourceVersion"]);
    }
    value::set(object, &path(&paths.spec_replicas), value::int(scale, &["spec", "replicas"]).unwrap_or(0));
}

fn check(name: &str, scale: &Value) -> Result<(), ApiError> {
    let kind = value::text(scale, &["kind"]);
    if !kind.is_empty() && kind != "Scale" {
        return Err(ApiError::bad_request(format!("{kind} in version \"v1\" cannot be handled as a Scale")));
    }
    let mut errors = FieldErrors::new();
    let replicas = value::at(scale, &["spec", "replicas"]);
    match replicas.map(|r| (r, r.as_i64())) {
        None => {}
        Some((_, Some(count))) if i32::try_from(count).is_ok_and(|c| c >= 0) => {}
        Some((given, _)) => errors.invalid(&FieldPath::new("spec.replicas"), given.clone(), "must be greater than or equal to 0"),
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(&GroupKind::new("autoscaling", "Scale"), name, &errors)) }
}

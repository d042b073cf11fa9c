//! Making an object.

use super::storage::{Outcome, put};
use super::{Task, cache, owners};
use crate::admission::Operation;
use meta::validate::object_meta;
use meta::{ApiError, FieldPath, time, value};
use rand::RngExt;
use serde_json::{Map, Value};

/// Without vowels and what looks like another, so that no words come out.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
const NAME: usize = 63;
/// How often a generated name may turn out to be taken.
const TRIES: usize = 8;

/// `owned`: the field owners are in the object already, an apply has put them there.
pub async fn create(task: &Task<'_>, mut object: Value, owned: bool) -> Result<Value, ApiError> {
    place(task, &mut object)?;
    if !matches!(value::text(&object, &["metadata", "resourceVersion"]), "" | "0") {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in
        ["uid", "creationTimestamp", "resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"]
    {
        value::remove(&mut object, &["metadata", field]);
    }
    if !owned {
        value::remove(&mut object, &["metadata", "managedFields"]);
        // The client owns what it sent, and nobody what admission adds.
        owners::track(task, None, &mut object);
    }
    if task.admit {
        let name = value::text(&object, &["metadata", "name"]).to_string();
        let request = task.request(Operation::Create, &name);
        task.server.inner.admission.mutate(&request, &mut object, None).await?;
        place(task, &mut object)?;
    }
    let prefix = value::text(&object, &["metadata", "generateName"]).to_string();
    if !value::text(&object, &["metadata", "name"]).is_empty() || prefix.is_empty() {
        return once(task, object).await;
    }
    let mut tries = 0;
    loop {
        let mut named = object.clone();
        value::set(&mut named, &["metadata", "name"], generated(&prefix));
        tries += 1;
        match once(task, named).await {
            Err(error) if error.reason == "AlreadyExists" && tries < TRIES => {}
            Err(error) if error.reason == "AlreadyExists" => {
                let mut error = error;
                error.message += ", the server was not able to generate a unique name for the object";
                return Err(error);
            }
            result => return result,
        }
    }
}

fn generated(prefix: &str) -> String {
    let mut name: String = prefix.chars().take(NAME - SUFFIX).collect();
    let mut random = rand::rng();
    for _ in 0..SUFFIX {
        name.push(char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    }
    name
}

async fn once(task: &Task<'_>, mut object: Value) -> Result<Value, ApiError> {
    let kind = &task.resource.kind;
    value::set(&mut object, &["metadata", "uid"], uuid::Uuid::new_v4().to_string());
    value::set(&mut object, &["metadata", "creationTimestamp"], time::now());
    let name = value::text(&object, &["metadata", "name"]).to_string();
    let request = task.request(Operation::Create, &name);
    let admission = &task.server.inner.admission;
    if task.admit {
        admission.take(&request, &mut object, None).await?;
    }
    kind.prepare_create(&mut object);
    // There in every built-in kind that has one, for patches to have something to put theirs into.
    if task.resource.has_status
        && !task.resource.custom
        && let Value::Object(map) = &mut object
    {
        map.entry("status").or_insert_with(|| Value::Object(Map::new()));
    }
    if task.admit {
        kind.stamp_requester(&mut object, &requester(&task.attributes.user));
    }
    kind.default(&mut object);
    if kind.has_generation() {
        value::set(&mut object, &["metadata", "generation"], 1);
    }
    let meta = object.get("metadata").unwrap_or(&Value::Null);
    let mut errors =
        object_meta(meta, &FieldPath::new("metadata"), task.resource.namespaced(), &|name, prefix| kind.check_name(name, prefix));
    errors.extend(super::finalizers(task, meta));
    errors.extend(kind.validate(&object));
    errors.extend(kind.validate_create(&object));
    if !errors.is_empty() {
        return Err(task.invalid(&name, &errors));
    }
    task.warnings.extend(kind.warnings(&object, None));
    if task.admit {
        admission.validate(&request, &object, None).await?;
    }
    let exists = || ApiError::already_exists(&task.resource.group_resource, &name);
    if task.options.dry_run {
        return if cache(task.resource)?.get(task.namespace, &name).is_some() { Err(exists()) } else { Ok(object) };
    }
    match put(task, &name, &object, 0).await? {
        Outcome::Done(revision) => {
            value::set(&mut object, &["metadata", "resourceVersion"], revision.to_string());
            Ok(object)
        }
        Outcome::Conflict => Err(exists()),
    }
}

/// The caller in the form of a `TokenReview`'s user.
fn requester(user: &crate::user::User) -> Value {
    serde_json::json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra})
}

/// Puts the object into the request's namespace.
pub fn place(task: &Task<'_>, object: &mut Value) -> Result<(), ApiError> {
    let given = value::text(object, &["metadata", "namespace"]);
    if !task.resource.namespaced() {
        if given.is_empty() {
            value::remove(object, &["metadata", "namespace"]);
        }
        return Ok(());
    }
    if given.is_empty() {
        value::set(object, &["metadata", "namespace"], task.namespace);
    } else if given != task.namespace {
        return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    Ok(())
}

//! From a body to an object that the kind's schema vouches for, with its defaults.

use super::{Task, Validation};
use crate::negotiate;
use crate::verbs::view;
use http::HeaderValue;
use meta::decode::{check, strict_error, strict_messages};
use meta::{ApiError, GroupVersion, GroupVersionKind, value};
use serde_json::{Map, Value};

/// A body as a tree, not yet looked at.
pub struct Decoded {
    pub tree: Value,
    pub duplicates: Vec<String>,
}

/// A whole object from a body.
pub fn decode(task: &Task<'_>, content_type: Option<&HeaderValue>, bytes: &[u8]) -> Result<Value, ApiError> {
    let (tree, duplicates) = negotiate::decode(content_type, bytes)?;
    decode_tree(task, Decoded { tree, duplicates })
}

/// Checks a tree that is to be an object of the task's kind, prunes it, and fills in its defaults.
pub fn decode_tree(task: &Task<'_>, decoded: Decoded) -> Result<Value, ApiError> {
    let mut object = decode_bare(task, decoded)?;
    task.resource.kind.default(&mut object);
    Ok(object)
}

/// The same without defaults.
pub fn decode_bare(task: &Task<'_>, decoded: Decoded) -> Result<Value, ApiError> {
    let Decoded { tree: mut object, duplicates } = decoded;
    let names = task.resource.kind.names();
    let cannot = |why: &str| {
        ApiError::bad_request(format!("{} in version \"{}\" cannot be handled as a {}: {why}", names.kind, names.version, names.kind))
    };
    if !object.is_object() {
        let what = if object.is_null() { "the body is empty" } else { "the body is no object" };
        return Err(cannot(what));
    }
    let api_version = value::text(&object, &["apiVersion"]).to_string();
    let kind = value::text(&object, &["kind"]).to_string();
    let version_fits = api_version.is_empty() || api_version == task.resource.api_version;
    if !version_fits {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            task.resource.api_version
        )));
    }
    if !kind.is_empty() && kind != names.kind {
        let given = GroupVersion::parse(&task.resource.api_version);
        let given = GroupVersionKind::new(given.group, given.version, kind.as_str());
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {}: the object provided is unrecognized (must be of type {}): {given}",
            names.version, names.kind, names.kind
        )));
    }
    view::identify(task.resource, &mut object);
    let unknown = check(&task.resource.kind.schema(), &mut object).map_err(|e| e.to_api(&names.kind, &names.version))?;
    if !unknown.is_empty() || !duplicates.is_empty() {
        match task.options.validation {
            Validation::Ignore => {}
            Validation::Warn => task.warnings.extend(strict_messages(&unknown, &duplicates)),
            Validation::Strict => return Err(cannot(&strict_error(&unknown, &duplicates))),
        }
    }
    if !object.get("metadata").is_some_and(Value::is_object) {
        value::set(&mut object, &["metadata"], Map::new());
    }
    Ok(object)
}

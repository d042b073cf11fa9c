//! Patches of the four kinds.

use super::Call;
use crate::body::Body;
use crate::negotiate::{self, MediaType};
use crate::registry::{self, Changed, Decoded, Part, Task, Validation};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use kinds::Subresource;
use meta::patch::{json, merge, strategic};
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, value};
use serde_json::Value;

pub enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    pub fn parse(call: &Call<'_>, body: &[u8]) -> Result<(Self, Vec<String>), ApiError> {
        let media = MediaType::parse(call.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default());
        let unsupported = || {
            let strategic = if call.resource.custom { "" } else { "application/strategic-merge-patch+json, " };
            Err(ApiError::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
                 application/merge-patch+json, {strategic}application/apply-patch+yaml"
            )))
        };
        let parse = || meta::decode::parse_json(body);
        Ok(match media.name.as_str() {
            "application/json-patch+json" => {
                let (tree, duplicates) = parse()?;
                (Self::Json(tree), duplicates)
            }
            "application/merge-patch+json" => {
                let (tree, duplicates) = parse()?;
                (Self::Merge(tree), duplicates)
            }
            "application/strategic-merge-patch+json" if !call.resource.custom => {
                let (tree, duplicates) = parse()?;
                (Self::Strategic(tree), duplicates)
            }
            "application/apply-patch+yaml" => {
                let (tree, duplicates) = negotiate::yaml(body)?;
                (Self::Apply(tree), duplicates)
            }
            _ => return unsupported(),
        })
    }

    /// Not for applies.
    pub fn apply_to(&self, schema: &meta::schema::Schema, mut target: Value) -> Result<Value, ApiError> {
        Ok(match self {
            Self::Json(patch) => json::apply(target, patch)?,
            Self::Strategic(patch) => strategic::apply(schema, target, patch)?,
            Self::Merge(patch) | Self::Apply(patch) => {
                merge::apply(&mut target, patch)?;
                target
            }
        })
    }
}

/// The options that only some patches have.
pub fn check_options(task: &Task<'_>, patch: &Patch) -> Result<(), ApiError> {
    let mut errors = FieldErrors::new();
    if matches!(patch, Patch::Apply(_)) {
        if !task.options.named_manager {
            errors.required(&FieldPath::new("fieldManager"), "is required for apply patch");
        }
    } else if task.options.force.is_some() {
        errors.forbidden(&FieldPath::new("force"), "may not be specified for non-apply patch");
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(&GroupKind::new("meta.k8s.io", "PatchOptions"), "", &errors)) }
}

pub fn part_of(subresource: &Subresource) -> Part {
    match subresource {
        Subresource::Update { prepare, validate, .. } => Part::Update { prepare: *prepare, validate: *validate },
        _ => Part::Status,
    }
}

pub async fn object(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, ApiError> {
    run(call, Part::Main, body).await
}

pub async fn part(call: &Call<'_>, subresource: &Subresource, body: Bytes) -> Result<Response<Body>, ApiError> {
    run(call, part_of(subresource), body).await
}

async fn run(call: &Call<'_>, part: Part, body: Bytes) -> Result<Response<Body>, ApiError> {
    let task = call.task("PatchOptions")?;
    let (patch, duplicates) = Patch::parse(call, &body)?;
    check_options(&task, &patch)?;
    let may_create = matches!(patch, Patch::Apply(_)) && matches!(part, Part::Main);
    let applied = match &patch {
        Patch::Apply(tree) => Some(applied(&task, call.name, tree, duplicates.clone())?),
        _ => None,
    };
    let schema = call.resource.kind.schema();
    let mut change = |old: Option<&Value>| -> Result<Changed, ApiError> {
        if let Some(applied) = &applied {
            let merged = registry::apply(&task, old, applied)?;
            let mut object = merged.0;
            task.resource.kind.default(&mut object);
            return Ok(Changed { owned: true, ..Changed::new(object) });
        }
        let old = old.cloned().unwrap_or_default();
        let tree = patch.apply_to(&schema, old)?;
        let object = registry::decode_tree(&task, Decoded { tree, duplicates: duplicates.clone() })?;
        Ok(Changed::new(object))
    };
    let (object, created) = registry::update(&task, call.name, part, may_create, &mut change).await?;
    call.respond_written(&task, if created { StatusCode::CREATED } else { StatusCode::OK }, &object)
}

/// What is applied: checked and pruned, but without defaults, which nobody has applied.
fn applied(task: &Task<'_>, name: &str, tree: &Value, duplicates: Vec<String>) -> Result<Value, ApiError> {
    for field in ["apiVersion", "kind"] {
        if value::text(tree, &[field]).is_empty() {
            return Err(ApiError::bad_request(format!("error decoding patch: Object '{field}' is missing")));
        }
    }
    let mut object = tree.clone();
    if object.get("metadata").is_some_and(Value::is_object) && value::text(&object, &["metadata", "name"]).is_empty() {
        value::set(&mut object, &["metadata", "name"], name);
    }
    // Whatever the validation asked for: nobody can own a field that does not exist.
    meta::managed::fits(&task.resource.kind.schema(), &object)?;
    if !duplicates.is_empty() {
        match task.options.validation {
            Validation::Ignore => {}
            Validation::Warn => task.warnings.extend(duplicates),
            Validation::Strict => {
                return Err(ApiError::bad_request(format!("error strict decoding YAML: {}", duplicates.join(", "))));
            }
        }
    }
    let mut object = registry::decode_bare(task, Decoded { tree: object, duplicates: Vec::new() })?;
    if value::text(&object, &["metadata", "name"]).is_empty() {
        value::set(&mut object, &["metadata", "name"], name);
    }
    registry::check_name(task, name, &mut object)?;
    Ok(object)
}

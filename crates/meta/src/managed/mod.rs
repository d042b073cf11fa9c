//! Who owns which field: `metadata.managedFields`, server-side apply, and the tracking of all other
//! writes. The semantics are those of structured-merge-diff and apimachinery `pkg/util/managedfields`
//! (KEP-555); the sets are kept in the form of their JSON, since that is what is stored.

mod apply;
mod compare;
mod entries;
mod merge;
mod prune;
mod set;
mod shape;
mod update;

pub use apply::{ApplyError, Conflict, apply, fits};
pub use set::{FieldsError, Set};
pub use update::track_update;

/// In upstream's order: appliers come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// The version the object is in (`apps/v1`).
    pub api_version: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    /// RFC 3339 with seconds, see [`crate::time::now`].
    pub time: &'a str,
    /// Dotted paths that this write cannot change and so may not own (`status` on the main resource;
    /// `spec` and `metadata.labels` on `/status`).
    pub reset: &'a [&'a str],
}

/// `over` laid over `object` as an apply would lay it, and nobody comes to own it. What is owned as a whole must not be
/// touched, so that nothing is lost by it.
pub fn overlay(schema: &crate::schema::Schema, object: &serde_json::Value, over: &serde_json::Value) -> Result<serde_json::Value, String> {
    let types = shape::Types(schema);
    types.check(types.root(), over, "").map_err(|e| format!("failed to convert patch object to typed object: {e}"))?;
    let mut wholes = Vec::new();
    types.wholes(types.root(), over, &mut String::new(), &mut wholes);
    if !wholes.is_empty() {
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}", wholes.join(", ")));
    }
    Ok(types.merge(types.root(), object, over))
}

/// Whether the entries of an object can be read.
pub fn check(object: &serde_json::Value) -> Result<(), FieldsError> {
    entries::read(object).map(drop)
}

#[cfg(test)]
mod tests;

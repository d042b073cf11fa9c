//! `metadata.generation`, and what else only the server says of an object.

use crate::catalog::Resource;
use meta::value;
use serde_json::Value;

/// What a client cannot change in an object that exists.
const KEPT: [&[&str]; 5] = [
    &["metadata", "creationTimestamp"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
    &["metadata", "generation"],
    &["metadata", "selfLink"],
];

pub fn keep(new: &mut Value, old: &Value) {
    for path in KEPT {
        value::carry(new, old, path);
    }
    if value::text(new, &["metadata", "uid"]).is_empty() {
        value::carry(new, old, &["metadata", "uid"]);
    }
}

/// Counts a change of anything but metadata and status.
pub fn count(resource: &Resource, new: &mut Value, old: &Value) {
    if !resource.kind.has_generation() {
        return;
    }
    let counted = |key: &str| !(matches!(key, "metadata" | "apiVersion" | "kind") || (key == "status" && resource.has_status));
    let (Value::Object(after), Value::Object(before)) = (&*new, old) else { return };
    let changed =
        after.iter().any(|(k, v)| counted(k) && before.get(k) != Some(v)) || before.keys().any(|k| counted(k) && !after.contains_key(k));
    let changed = if resource.custom { changed } else { resource.kind.bumps_generation(new, old) };
    let generation = value::int(old, &["metadata", "generation"]).unwrap_or(0);
    let now = value::int(new, &["metadata", "generation"]).unwrap_or(0);
    if changed && now <= generation {
        value::set(new, &["metadata", "generation"], generation + 1);
    }
}

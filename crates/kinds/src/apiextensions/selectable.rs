//! Which fields a definition may let a field selector name.

use super::expressions::field_path;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const MOST: usize = 8;

pub fn check(version: &Value, schema: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    for (i, field) in value::items(version, &["selectableFields"]).iter().enumerate() {
        let (path, at) = (value::text(field, &["jsonPath"]), at.index(i).child("jsonPath"));
        if path.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let (name, found) = match field_path(path, schema, false) {
            Ok(found) => found,
            Err(why) => {
                errors.invalid(&at, path, &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if name == "metadata" || name.starts_with("metadata.") {
            errors.invalid(&at, path, "must not point to fields in metadata");
        }
        if !matches!(value::text(found, &["type"]), "string" | "boolean" | "integer") {
            let detail =
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.invalid(&at, path, detail);
        }
        if seen.contains(&name) {
            errors.duplicate(&at, path);
        } else {
            seen.push(name);
        }
    }
    if seen.len() > MOST {
        errors.too_many(at, seen.len(), MOST);
    }
}

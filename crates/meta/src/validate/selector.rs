//! `LabelSelector` objects.

use super::names::{label_value, qualified_name};
use crate::field::{FieldErrors, FieldPath};
use crate::value;
use serde_json::Value;

/// Null and a missing selector are fine here; whether one is required is the kind's to say.
pub fn label_selector(selector: &Value, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(labels) = selector.get("matchLabels") {
        errors.extend(super::labels(labels, &path.child("matchLabels")));
    }
    for (i, expression) in value::items(selector, &["matchExpressions"]).iter().enumerate() {
        requirement(expression, &path.child("matchExpressions").index(i), &mut errors);
    }
    errors
}

fn requirement(expression: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let values = value::items(expression, &["values"]);
    match value::text(expression, &["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.forbidden(&path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    let key = value::text(expression, &["key"]);
    for message in qualified_name(key) {
        errors.invalid(&path.child("key"), key, &message);
    }
    for (i, item) in values.iter().enumerate() {
        let text = item.as_str().unwrap_or_default();
        for message in label_value(text) {
            errors.invalid(&path.child("values").index(i), text, &message);
        }
    }
}

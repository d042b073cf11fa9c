//! What the kinds that make pods from a template have in common.

use crate::core::pod_template;
use crate::rules::get;
use crate::{Column, table};
use meta::labels::Selector;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

/// Defaults of `spec.template`.
pub fn default_template(object: &mut Value, path: &[&str]) {
    let _ = value::object(object, path);
    if let Some(template) = value::at_mut(object, path) {
        pod_template::default(template);
    }
}

pub fn validate_template(template: &Value, path: &FieldPath) -> FieldErrors {
    pod_template::validate(template, path)
}

/// What is to be said of an object's template, where it is new; and of a name that its pods' names are made of.
pub fn template_warnings(object: &Value, old: Option<&Value>, at: &[&str], names_pods: bool) -> Vec<String> {
    let none = Value::Null;
    let found = value::at(object, at).unwrap_or(&none);
    let mut texts = Vec::new();
    let name = value::text(object, &["metadata", "name"]);
    let wrong = validate::dns_label(name, false);
    if names_pods && old.is_none() && !wrong.is_empty() {
        let why = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
        texts.push(format!("metadata.name: {why}: [{}]", wrong.join(" ")));
    }
    let generation = |of: &Value| value::int(of, &["metadata", "generation"]);
    if old.is_none_or(|old| generation(old) != generation(object)) {
        texts.extend(warnings(found, &FieldPath::new(at.join("."))));
    }
    texts
}

pub fn warnings(template: &Value, path: &FieldPath) -> Vec<String> {
    pod_template::warnings(template, path)
}

/// `spec.selector`: well-formed, and not empty.
pub fn selector(spec: &Value, path: &FieldPath, required: bool, empty: &str, errors: &mut FieldErrors) {
    let selector = get(spec, "selector");
    let at = path.child("selector");
    if selector.is_null() {
        if required {
            errors.required(&at, "");
        }
        return;
    }
    errors.extend(validate::label_selector(selector, &at));
    let some = |name: &str| match get(selector, name) {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if !some("matchLabels") && !some("matchExpressions") {
        errors.invalid(&at, selector.clone(), empty);
    }
}

/// The template's labels must be what the selector looks for. An unreadable selector is complained about here.
pub fn selector_matches(spec: &Value, path: &FieldPath, unreadable: Option<&str>, errors: &mut FieldErrors) -> bool {
    let selector = match Selector::from_value(get(spec, "selector")) {
        Ok(selector) => selector,
        Err(_) => {
            if let Some(message) = unreadable {
                errors.invalid(&path.child("selector"), get(spec, "selector").clone(), message);
            }
            return false;
        }
    };
    let labels = value::at(spec, &["template", "metadata", "labels"]).unwrap_or(&Value::Null);
    // A selector that is not there matches nothing, one that is empty everything.
    let none = get(spec, "selector").is_null();
    if none || (!selector.is_empty() && !selector.matches_labels(labels)) {
        let at = path.child("template").child("metadata").child("labels");
        errors.invalid(&at, labels.clone(), "`selector` does not match template `labels`");
    }
    true
}

/// Pods that are kept running restart always and have no deadline.
pub fn always_running(template: &Value, path: &FieldPath, kind: &str, errors: &mut FieldErrors) {
    let spec = path.child("spec");
    let policy = value::text(template, &["spec", "restartPolicy"]);
    if policy != "Always" {
        errors.not_supported(&spec.child("restartPolicy"), policy, &["Always"]);
    }
    if value::at(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        errors.forbidden(&spec.child("activeDeadlineSeconds"), &format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

pub fn wide_columns() -> Vec<Column> {
    vec![Column::wide("Containers", "string"), Column::wide("Images", "string"), Column::wide("Selector", "string")]
}

/// The cells of [`wide_columns`].
pub fn wide_cells(spec: &Value) -> [Value; 3] {
    let (names, images) = table::containers(value::at(spec, &["template", "spec"]).unwrap_or(&Value::Null));
    [names.into(), images.into(), table::label_selector(get(spec, "selector")).into()]
}

pub fn scale() -> crate::Subresource {
    let path = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect();
    crate::Subresource::Scale(crate::ScalePaths {
        spec_replicas: path(&["spec", "replicas"]),
        status_replicas: path(&["status", "replicas"]),
        selector: path(&["spec", "selector"]),
    })
}

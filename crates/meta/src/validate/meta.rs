//! `metadata`, of any kind.

use super::names::{dns_label, label_value, qualified_name};
use crate::field::{FieldErrors, FieldPath};
use crate::value;
use serde_json::Value;

const ANNOTATIONS_MAX: usize = 256 * 1024;
const MANAGER_MAX: usize = 128;
const SUBRESOURCE_MAX: usize = 256;

/// `meta` is the value of `metadata`; `check_name` says what is wrong with a name, or with the prefix
/// of a generated one.
pub fn object_meta(meta: &Value, path: &FieldPath, namespaced: bool, check_name: &dyn Fn(&str, bool) -> Vec<String>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let prefix = value::text(meta, &["generateName"]);
    if !prefix.is_empty() {
        for message in check_name(prefix, true) {
            errors.invalid(&path.child("generateName"), prefix, &message);
        }
    }
    let name = value::text(meta, &["name"]);
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        for message in check_name(name, false) {
            errors.invalid(&path.child("name"), name, &message);
        }
    }
    let namespace = value::text(meta, &["namespace"]);
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&path.child("namespace"), ""),
        (true, false) => {
            for message in dns_label(namespace, false) {
                errors.invalid(&path.child("namespace"), namespace, &message);
            }
        }
        (false, false) => errors.forbidden(&path.child("namespace"), "not allowed on this type"),
        (false, true) => {}
    }
    generation(meta, path, &mut errors);
    errors.extend(labels(field(meta, "labels"), &path.child("labels")));
    errors.extend(annotations(field(meta, "annotations"), &path.child("annotations")));
    owner_references(value::items(meta, &["ownerReferences"]), &path.child("ownerReferences"), &mut errors);
    finalizers(value::items(meta, &["finalizers"]), &path.child("finalizers"), &mut errors);
    managed_fields(value::items(meta, &["managedFields"]), &path.child("managedFields"), &mut errors);
    errors
}

/// Both are values of `metadata`.
pub fn object_meta_update(new: &Value, old: &Value, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !field(old, "deletionTimestamp").is_null() {
        let before = value::items(old, &["finalizers"]);
        let mut added: Vec<String> =
            value::items(new, &["finalizers"]).iter().filter(|f| !before.contains(f)).map(Value::to_string).collect();
        added.sort();
        added.dedup();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.forbidden(&path.child("finalizers"), &detail);
        }
    }
    if value::text(new, &["resourceVersion"]).is_empty() {
        errors.invalid(&path.child("resourceVersion"), "", "must be specified for an update");
    }
    generation(new, path, &mut errors);
    let generation_of = |meta| value::int(meta, &["generation"]).unwrap_or(0);
    if generation_of(new) < generation_of(old) {
        errors.invalid(&path.child("generation"), generation_of(new), "must not be decremented");
    }
    for name in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (to, from) = (field(new, name), field(old, name));
        if !same(to, from) {
            let text = matches!(name, "name" | "namespace" | "uid") && to.is_null();
            errors.invalid(&path.child(name), if text { "".into() } else { to.clone() }, "field is immutable");
        }
    }
    errors.extend(labels(field(new, "labels"), &path.child("labels")));
    errors.extend(annotations(field(new, "annotations"), &path.child("annotations")));
    owner_references(value::items(new, &["ownerReferences"]), &path.child("ownerReferences"), &mut errors);
    managed_fields(value::items(new, &["managedFields"]), &path.child("managedFields"), &mut errors);
    errors
}

/// An empty text and an absent one are the same thing to upstream's structs.
fn same(a: &Value, b: &Value) -> bool {
    let blank = |v: &Value| v.is_null() || v.as_str() == Some("");
    a == b || (blank(a) && blank(b))
}

fn field<'a>(meta: &'a Value, name: &str) -> &'a Value {
    meta.get(name).unwrap_or(&Value::Null)
}

fn generation(meta: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let generation = value::int(meta, &["generation"]).unwrap_or(0);
    if generation < 0 {
        errors.invalid(&path.child("generation"), generation, "must be greater than or equal to 0");
    }
}

pub fn labels(labels: &Value, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (key, text) in labels.as_object().into_iter().flatten() {
        for message in qualified_name(key) {
            errors.invalid(path, key.as_str(), &message);
        }
        let text = text.as_str().unwrap_or_default();
        for message in label_value(text) {
            errors.invalid(path, text, &message);
        }
    }
    errors
}

pub fn annotations(annotations: &Value, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut size = 0;
    for (key, text) in annotations.as_object().into_iter().flatten() {
        for message in qualified_name(&key.to_lowercase()) {
            errors.invalid(path, key.as_str(), &message);
        }
        size += key.len() + text.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
    errors
}

fn owner_references(references: &[Value], path: &FieldPath, errors: &mut FieldErrors) {
    let mut controller = String::new();
    for (i, reference) in references.iter().enumerate() {
        let at = path.index(i);
        let api_version = value::text(reference, &["apiVersion"]);
        if api_version.is_empty() {
            errors.required(&at.child("apiVersion"), "must not be empty");
        } else if api_version.matches('/').count() > 1 || api_version.ends_with('/') {
            errors.invalid(&at.child("apiVersion"), api_version, "must be <group>/<version> or <version>");
        }
        for name in ["kind", "name", "uid"] {
            if value::text(reference, &[name]).is_empty() {
                errors.required(&at.child(name), "must not be empty");
            }
        }
        let kind = value::text(reference, &["kind"]);
        if api_version == "v1" && kind == "Event" {
            errors.invalid(&at, reference.clone(), "/v1, Kind=Event is disallowed from being an owner");
        }
        if value::flag(reference, &["controller"]) {
            let this = format!("{kind}/{}", value::text(reference, &["name"]));
            if controller.is_empty() {
                controller = this;
            } else {
                let detail =
                    format!("Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {this}");
                errors.invalid(path, Value::Array(references.to_vec()), &detail);
            }
        }
    }
}

pub fn finalizer_name(name: &str, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for message in qualified_name(name) {
        errors.invalid(path, name, &message);
    }
    errors
}

/// Of built-in kinds: fully qualified, or one of Kubernetes' own.
pub fn kube_finalizer_name(name: &str, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !name.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name) {
        errors.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
    errors
}

fn finalizers(finalizers: &[Value], path: &FieldPath, errors: &mut FieldErrors) {
    for finalizer in finalizers {
        errors.extend(finalizer_name(finalizer.as_str().unwrap_or_default(), path));
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(path, Value::Array(finalizers.to_vec()), detail);
    }
}

fn managed_fields(entries: &[Value], path: &FieldPath, errors: &mut FieldErrors) {
    for (i, entry) in entries.iter().enumerate() {
        let at = path.index(i);
        match value::text(entry, &["operation"]) {
            "" => errors.required(&at.child("operation"), "must not be empty"),
            "Apply" | "Update" => {}
            other => errors.not_supported(&at.child("operation"), other, &["Apply", "Update"]),
        }
        let fields_type = value::text(entry, &["fieldsType"]);
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            errors.invalid(&at.child("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        errors.extend(field_manager(value::text(entry, &["manager"]), &at.child("manager")));
        if value::text(entry, &["subresource"]).len() > SUBRESOURCE_MAX {
            errors.too_long(&at.child("subresource"), SUBRESOURCE_MAX);
        }
    }
}

/// The `fieldManager` of a request, or of an entry in `managedFields`.
pub fn field_manager(name: &str, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if name.len() > MANAGER_MAX {
        errors.too_long(path, MANAGER_MAX);
    }
    for (i, c) in name.char_indices().filter(|(_, c)| c.is_control()) {
        errors.invalid(path, name, &format!("invalid character U+{:04X} (at position {i})", u32::from(c)));
    }
    errors
}

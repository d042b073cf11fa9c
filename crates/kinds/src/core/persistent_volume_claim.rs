//! A wish for storage.

use super::storage::{ACCESS_MODES, class_column, modes, phase};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::{Value, json};

pub struct PersistentVolumeClaim;

/// The spec of a claim, of a claim template, and of an ephemeral volume's.
pub fn validate_spec(spec: &Value, at: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let access = value::items(spec, &["accessModes"]);
    if access.is_empty() {
        errors.required(&at.child("accessModes"), "at least 1 access mode is required");
    }
    for mode in access.iter().filter_map(Value::as_str) {
        if !ACCESS_MODES.contains(&mode) {
            errors.not_supported(&at.child("accessModes"), mode, &ACCESS_MODES);
        }
    }
    if access.len() > 1 && access.iter().any(|m| m == "ReadWriteOncePod") {
        errors.forbidden(&at.child("accessModes"), "may not use ReadWriteOncePod with other access modes");
    }
    if !get(spec, "selector").is_null() {
        errors.extend(validate::label_selector(get(spec, "selector"), &at.child("selector")));
    }
    let storage = value::at(spec, &["resources", "requests", "storage"]);
    match storage.map(Quantity::from_value) {
        None => errors.required(&at.child("resources").key("storage"), ""),
        Some(Ok(quantity)) if quantity.signum() <= 0 => {
            errors.invalid(&at.child("resources").key("storage"), storage.cloned().unwrap_or_default(), "must be greater than zero");
        }
        Some(_) => {}
    }
    let class = value::text(spec, &["storageClassName"]);
    if !class.is_empty() {
        rules::messages(validate::dns_subdomain(class, false), class, &at.child("storageClassName"), &mut errors);
    }
    rules::one_of(value::text(spec, &["volumeMode"]), &["Block", "Filesystem"], &at.child("volumeMode"), &mut errors);
    errors
}

pub fn default_spec(spec: &mut Value) {
    value::default(spec, &["volumeMode"], "Filesystem");
}

impl Kind for PersistentVolumeClaim {
    built_in!(
        "io.k8s.api.core.v1.PersistentVolumeClaim",
        Names::new("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", Scope::Namespaced).short(&["pvc"])
    );

    fn default(&self, object: &mut Value) {
        default_spec(object.as_object_mut().map_or(&mut Value::Null, |o| o.entry("spec").or_insert_with(|| json!({}))));
    }

    fn prepare_create(&self, object: &mut Value) {
        value::set(object, &["status"], json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        validate_spec(get(object, "spec"), &path("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let at = path("spec");
        let bound = value::text(old, &["status", "phase"]) == "Bound";
        let size = |v: &Value| value::at(v, &["spec", "resources", "requests", "storage"]).and_then(|q| Quantity::from_value(q).ok());
        // A volume is given once, a size may grow, a class may be filled in; the rest stays.
        let (mut a, mut b) = (get(new, "spec").clone(), get(old, "spec").clone());
        for spec in [&mut a, &mut b] {
            value::remove(spec, &["volumeAttributesClassName"]);
            if value::text(old, &["spec", "volumeName"]).is_empty() {
                value::remove(spec, &["volumeName"]);
            }
            if get(get(old, "spec"), "storageClassName").is_null() {
                value::remove(spec, &["storageClassName"]);
            }
            if bound {
                value::remove(spec, &["resources", "requests", "storage"]);
            }
        }
        if a != b {
            let text = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.forbidden(&at, text);
        }
        if bound && let (Some(new), Some(old)) = (size(new), size(old)) {
            let mut grown = new;
            grown.sub(&old);
            if grown.signum() < 0 {
                errors.forbidden(&at.child("resources").child("requests").child("storage"), "field can not be less than status.capacity");
            }
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(
            ["Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass"].map(|n| Column::new(n, "string")),
        );
        columns.extend([Column::age(), Column::wide("VolumeMode", "string")]);
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let bound = !value::text(object, &["spec", "volumeName"]).is_empty();
        let access = if bound { modes(get(object, "status")) } else { String::new() };
        let capacity = if bound { value::text(object, &["status", "capacity", "storage"]) } else { "" };
        vec![
            table::name(object),
            phase(object).into(),
            table::text(object, &["spec", "volumeName"]),
            capacity.into(),
            access.into(),
            class_column(object).into(),
            table::text_or(object, &["spec", "volumeAttributesClassName"], "<unset>"),
            table::age(object, now).into(),
            table::text_or(object, &["spec", "volumeMode"], "<unset>"),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

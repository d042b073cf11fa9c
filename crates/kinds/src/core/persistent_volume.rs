//! A piece of storage.

use super::storage::{ACCESS_MODES, class_column, modes, phase};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, Quantity, value};
use serde_json::{Value, json};

pub struct PersistentVolume;

/// What of a spec is no source of storage.
const NO_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeMode",
    "volumeAttributesClassName",
];

fn sources(object: &Value) -> Vec<(&String, &Value)> {
    let spec = get(object, "spec").as_object();
    spec.into_iter().flatten().filter(|(name, _)| !NO_SOURCE.contains(&name.as_str())).collect()
}

impl Kind for PersistentVolume {
    built_in!(
        "io.k8s.api.core.v1.PersistentVolume",
        Names::new("", "v1", "PersistentVolume", "persistentvolumes", Scope::Cluster).short(&["pv"])
    );

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "persistentVolumeReclaimPolicy"], "Retain");
        value::default(object, &["spec", "volumeMode"], "Filesystem");
        if value::at(object, &["spec", "hostPath"]).is_some() {
            value::default(object, &["spec", "hostPath", "type"], "");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        value::set(object, &["status"], json!({"phase": "Pending"}));
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        if value::items(spec, &["accessModes"]).is_empty() {
            errors.required(&at.child("accessModes"), "");
        }
        for mode in value::items(spec, &["accessModes"]).iter().filter_map(Value::as_str) {
            if !ACCESS_MODES.contains(&mode) {
                errors.not_supported(&at.child("accessModes"), mode, &ACCESS_MODES);
            }
        }
        let capacity = value::at(spec, &["capacity"]).and_then(Value::as_object);
        if capacity.is_none_or(serde_json::Map::is_empty) {
            errors.required(&at.child("capacity"), "");
        } else if get(get(spec, "capacity"), "storage").is_null() {
            errors.not_supported(&at.child("capacity"), get(spec, "capacity").clone(), &["storage"]);
        }
        if let Some(Ok(quantity)) = value::at(spec, &["capacity", "storage"]).map(Quantity::from_value)
            && quantity.signum() <= 0
        {
            errors.invalid(
                &at.child("capacity").key("storage"),
                get(get(spec, "capacity"), "storage").clone(),
                "must be greater than zero",
            );
        }
        match sources(object).len() {
            0 => errors.required(&at, "must specify a volume type"),
            1 => {}
            _ => errors.forbidden(&at, "may not specify more than 1 volume type"),
        }
        if value::at(spec, &["local"]).is_some() {
            if value::text(spec, &["local", "path"]).is_empty() {
                errors.required(&at.child("local").child("path"), "");
            }
            if get(spec, "nodeAffinity").is_null() {
                errors.required(&path("metadata.annotations"), "Local volume requires node affinity");
            }
        }
        let policy = value::text(spec, &["persistentVolumeReclaimPolicy"]);
        rules::one_of(policy, &["Delete", "Recycle", "Retain"], &at.child("persistentVolumeReclaimPolicy"), &mut errors);
        rules::one_of(value::text(spec, &["volumeMode"]), &["Block", "Filesystem"], &at.child("volumeMode"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if sources(new) != sources(old) {
            errors.forbidden(&path("spec.persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
        }
        let mode = |v: &Value| get(get(v, "spec"), "volumeMode").clone();
        if mode(new) != mode(old) {
            errors.invalid(&path("volumeMode"), mode(new), rules::IMMUTABLE);
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim"].map(|n| Column::new(n, "string")));
        columns.extend(["StorageClass", "VolumeAttributesClass", "Reason"].map(|n| Column::new(n, "string")));
        columns.extend([Column::age(), Column::wide("VolumeMode", "string")]);
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let claim = value::text(object, &["spec", "claimRef", "name"]);
        let claim =
            if claim.is_empty() { String::new() } else { format!("{}/{claim}", value::text(object, &["spec", "claimRef", "namespace"])) };
        vec![
            table::name(object),
            table::text(object, &["spec", "capacity", "storage"]),
            modes(get(object, "spec")).into(),
            table::text(object, &["spec", "persistentVolumeReclaimPolicy"]),
            phase(object).into(),
            claim.into(),
            class_column(object).into(),
            table::text_or(object, &["spec", "volumeAttributesClassName"], "<unset>"),
            table::text(object, &["status", "reason"]),
            table::age(object, now).into(),
            table::text_or(object, &["spec", "volumeMode"], "<unset>"),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

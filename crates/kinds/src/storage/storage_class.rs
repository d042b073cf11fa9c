//! A kind of volume that claims can ask for.

use super::{GROUP, parameters, provisioner};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct StorageClass;

const BINDING_MODES: [&str; 2] = ["Immediate", "WaitForFirstConsumer"];
const DEFAULT_ANNOTATIONS: [&str; 2] = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

impl Kind for StorageClass {
    built_in!(
        "io.k8s.api.storage.v1.StorageClass",
        Names::new(GROUP, "v1", "StorageClass", "storageclasses", Scope::Cluster).short(&["sc"])
    );

    fn default(&self, object: &mut Value) {
        value::default(object, &["reclaimPolicy"], "Delete");
        value::default(object, &["volumeBindingMode"], "Immediate");
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        provisioner(value::text(object, &["provisioner"]), &path("provisioner"), &mut errors);
        parameters(get(object, "parameters"), false, &path("parameters"), &mut errors);
        let reclaim = value::text(object, &["reclaimPolicy"]);
        if !matches!(reclaim, "" | "Delete" | "Retain") {
            errors.not_supported(&path("reclaimPolicy"), reclaim, &["Delete", "Retain"]);
        }
        rules::one_of(value::text(object, &["volumeBindingMode"]), &BINDING_MODES, &path("volumeBindingMode"), &mut errors);
        let terms = value::items(object, &["allowedTopologies"]);
        for (i, term) in terms.iter().enumerate() {
            let at = path("allowedTopologies").index(i);
            topology(term, &at, &mut errors);
            if terms[..i].contains(term) {
                errors.duplicate(&at.child("matchLabelExpressions"), "");
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for name in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            rules::immutable(get(new, name), get(old, name), &path(name), &mut errors);
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        let names = ["Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion"];
        columns.extend(names.map(|name| Column::new(name, "string")));
        columns.push(Column::age());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let default = DEFAULT_ANNOTATIONS.iter().any(|a| value::text(object, &["metadata", "annotations", a]) == "true");
        let name = format!("{}{}", value::text(object, &["metadata", "name"]), if default { " (default)" } else { "" });
        vec![
            name.into(),
            table::text(object, &["provisioner"]),
            table::text_or(object, &["reclaimPolicy"], "Delete"),
            table::text_or(object, &["volumeBindingMode"], "Immediate"),
            value::flag(object, &["allowVolumeExpansion"]).into(),
            table::age(object, now).into(),
        ]
    }
}

fn topology(term: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let expressions = value::items(term, &["matchLabelExpressions"]);
    for (i, expression) in expressions.iter().enumerate() {
        let at = at.child("matchLabelExpressions").index(i);
        let (key, values) = (value::text(expression, &["key"]), value::items(expression, &["values"]));
        if values.is_empty() {
            errors.required(&at.child("values"), "");
        }
        for (i, found) in values.iter().enumerate() {
            if values[..i].contains(found) {
                errors.duplicate(&at.child("values").index(i), found.clone());
            }
        }
        rules::messages(validate::qualified_name(key), key, &at.child("key"), errors);
        if expressions[..i].iter().any(|e| value::text(e, &["key"]) == key) {
            errors.duplicate(&at.child("key"), key);
        }
    }
}

//! A wish for storage.

use super::storage::{LEGACY_CLASS, access_modes, class, class_column, fractions, modes, phase, quantity};
use crate::kind::built_in;
use crate::rules::{self, get, has, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::{Value, json};

pub struct PersistentVolumeClaim;

/// The spec of a claim, of a claim template, and of an ephemeral volume's.
pub fn validate_spec(spec: &Value, at: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let e = &mut errors;
    access_modes(spec, "at least 1 access mode is required", at, e);
    if has(spec, "selector") {
        e.extend(validate::label_selector(get(spec, "selector"), &at.child("selector")));
    }
    let storage = at.child("resources").key("storage");
    match quantity(spec, &["resources", "requests", "storage"]) {
        None => e.required(&storage, ""),
        Some(amount) if amount.signum() <= 0 => e.invalid(&storage, amount.to_string(), "must be greater than zero"),
        Some(_) => {}
    }
    class(spec, "storageClassName", at, e);
    rules::known(spec, "volumeMode", &["Block", "Filesystem"], at, e);
    for name in ["dataSource", "dataSourceRef"].into_iter().filter(|name| has(spec, name)) {
        let (source, here) = (get(spec, name), at.child(name));
        rules::required_texts(source, &["name", "kind"], &here, e);
        let (kind, group) = (value::text(source, &["kind"]), value::text(source, &["apiGroup"]));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            e.invalid(&here, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
        }
        if !group.is_empty() {
            rules::dns_subdomain(group, &here.child("apiGroup"), e);
        }
        let namespace = value::text(source, &["namespace"]);
        if !namespace.is_empty() {
            rules::dns_label(namespace, &here.child("namespace"), e);
        }
    }
    let (source, reference) = (get(spec, "dataSource"), get(spec, "dataSourceRef"));
    let same = ["apiGroup", "kind", "name"].iter().all(|name| rules::same(get(source, name), get(reference, name)));
    if !source.is_null() && !value::text(reference, &["namespace"]).is_empty() {
        e.invalid(at, at.child("dataSource").as_str(), "may not be specified when dataSourceRef.namespace is specified");
    } else if !source.is_null() && !reference.is_null() && !same {
        e.invalid(at, at.child("dataSource").as_str(), "must match dataSourceRef");
    }
    class(spec, "volumeAttributesClassName", at, e);
    errors
}

pub fn spec_warnings(spec: &Value, at: &FieldPath) -> Vec<String> {
    let resources = at.child("resources");
    let of = |kind: &str| fractions(spec, &["resources", kind, "storage"], &resources.child(kind).key("storage"));
    [of("requests"), of("limits")].into_iter().flatten().collect()
}

pub fn default_spec(spec: &mut Value) {
    value::default(spec, &["volumeMode"], "Filesystem");
}

/// A source by its old name is one by its new name too, and the other way round where the old one can say it.
fn normalize_sources(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    let (source, reference) = (get(spec, "dataSource").clone(), get(spec, "dataSourceRef").clone());
    if !source.is_null() && reference.is_null() {
        value::set(spec, &["dataSourceRef"], source);
    } else if source.is_null() && !reference.is_null() && value::text(&reference, &["namespace"]).is_empty() {
        let claim = value::text(&reference, &["apiGroup"]).is_empty() && value::text(&reference, &["kind"]) == "PersistentVolumeClaim";
        let snapshot =
            value::text(&reference, &["apiGroup"]) == "snapshot.storage.k8s.io" && value::text(&reference, &["kind"]) == "VolumeSnapshot";
        if claim || snapshot {
            value::set(spec, &["dataSource"], reference);
        }
    }
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
        normalize_sources(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["status"]);
        normalize_sources(new);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        validate_spec(get(object, "spec"), &path("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let at = path("spec");
        let bound = value::text(new, &["status", "phase"]) == "Bound";
        let legacy = |of: &Value| value::text(of, &["metadata", "annotations", LEGACY_CLASS]).to_string();
        let named = |of: &Value| get(get(of, "spec"), "storageClassName").as_str().map(str::to_string);
        let renamed = !legacy(old).is_empty() && named(old).is_none() && named(new).as_deref() == Some(&legacy(old));
        if legacy(new) != legacy(old) && !(renamed && legacy(new).is_empty()) {
            errors.invalid(&path("metadata.annotations").child(LEGACY_CLASS), legacy(new), rules::IMMUTABLE);
        }
        let filled = named(old).is_none() && (legacy(old).is_empty() || named(new).as_deref() == Some(&legacy(old)));
        // A volume is given once, a size may change, a class may be filled in; the rest stays.
        let (mut a, mut b) = (get(new, "spec").clone(), get(old, "spec").clone());
        for spec in [&mut a, &mut b] {
            if value::text(old, &["spec", "volumeName"]).is_empty() {
                value::remove(spec, &["volumeName"]);
            }
            if filled {
                value::remove(spec, &["storageClassName"]);
            }
            if bound {
                value::remove(spec, &["volumeAttributesClassName"]);
                value::remove(spec, &["resources", "requests", "storage"]);
            }
        }
        if a != b {
            let text = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.forbidden(&at, text);
        }
        let size = |of: &Value| quantity(of, &["spec", "resources", "requests", "storage"]).unwrap_or_default();
        let shrunk = size(new) < size(old);
        if shrunk && size(new) <= quantity(old, &["status", "capacity", "storage"]).unwrap_or_default() {
            let here = at.child("resources").child("requests").child("storage");
            errors.forbidden(&here, "field can not be less than status.capacity");
        }
        let mode = |of: &Value| get(get(of, "spec"), "volumeMode").clone();
        rules::immutable(&mode(new), &mode(old), &path("volumeMode"), &mut errors);
        let class = |of: &Value| get(get(of, "spec"), "volumeAttributesClassName").as_str().map(str::to_string);
        if class(new) != class(old) && value::at(old, &["status", "currentVolumeAttributesClassName"]).is_some() {
            let here = at.child("volumeAttributesClassName");
            let why = "is forbidden when status.currentVolumeAttributesClassName is not nil";
            match class(new).as_deref() {
                None => errors.forbidden(&here, &format!("update to nil {why}")),
                Some("") => errors.forbidden(&here, &format!("update to empty string {why}")),
                Some(_) => {}
            }
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let at = path("status");
        let resize = [
            "ControllerResizeInProgress",
            "ControllerResizeInfeasible",
            "NodeResizePending",
            "NodeResizeInProgress",
            "NodeResizeInfeasible",
        ];
        for (name, state) in rules::texts(new, &["status", "allocatedResourceStatuses"]) {
            if !resize.contains(&state) {
                errors.not_supported(&at.child("allocatedResourceStatuses"), name, &resize);
            }
        }
        for kind in ["capacity", "allocatedResources"] {
            for (name, amount) in value::at(new, &["status", kind]).and_then(Value::as_object).into_iter().flatten() {
                if Quantity::from_value(amount).is_ok_and(|q| q.signum() < 0) {
                    errors.invalid(&at.child(kind).key(name), amount.clone(), "must be a valid resource quantity");
                }
            }
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut texts = Vec::new();
        if value::at(object, &["metadata", "annotations", LEGACY_CLASS]).is_some() {
            let why = "deprecated since v1.8; use \"storageClassName\" attribute instead";
            texts.push(format!("{}: {why}", path("metadata.annotations").key(LEGACY_CLASS)));
        }
        texts.extend(spec_warnings(get(object, "spec"), &path("spec")));
        texts
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

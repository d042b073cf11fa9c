//! A piece of storage.

use super::pod_template::{self, Sources, scheduling};
use super::storage::{LEGACY_CLASS, access_modes, class, class_column, modes, phase};
use crate::kind::built_in;
use crate::rules::{self, get, has, path};
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

/// Labels of nodes under the names that they have today.
fn renamed_labels(affinity: &Value) -> Value {
    let names = [
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    let mut affinity = affinity.clone();
    for term in value::items_mut(&mut affinity, &["required", "nodeSelectorTerms"]) {
        for expression in value::items_mut(term, &["matchExpressions"]) {
            let key = value::text(expression, &["key"]);
            if let Some((_, now)) = names.iter().find(|(before, _)| *before == key) {
                value::set(expression, &["key"], *now);
            }
        }
    }
    affinity
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
        value::set(object, &["status"], json!({"phase": "Pending", "lastPhaseTransitionTime": meta::time::now()}));
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let mut status = get(new, "status").clone();
        if get(&status, "phase") != get(get(old, "status"), "phase") {
            value::default(&mut status, &["lastPhaseTransitionTime"], meta::time::now());
            if get(&status, "lastPhaseTransitionTime") == get(get(old, "status"), "lastPhaseTransitionTime") {
                value::set(&mut status, &["lastPhaseTransitionTime"], meta::time::now());
            }
        }
        super::namespace::keep_managed(new, old);
        value::set(new, &["status"], status);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let e = &mut errors;
        let (spec, at) = (get(object, "spec"), path("spec"));
        access_modes(spec, "", &at, e);
        let (capacity, here) = (get(spec, "capacity"), at.child("capacity"));
        let amounts = capacity.as_object().map_or(0, serde_json::Map::len);
        if amounts == 0 {
            e.required(&here, "");
        }
        if !has(capacity, "storage") || amounts > 1 {
            e.not_supported(&here, if capacity.is_null() { json!({}) } else { capacity.clone() }, &["storage"]);
        }
        for (name, amount) in capacity.as_object().into_iter().flatten() {
            if Quantity::from_value(amount).is_ok_and(|q| q.signum() <= 0) {
                e.invalid(&here.key(name), amount.clone(), "must be greater than zero");
            }
        }
        let policy = value::text(spec, &["persistentVolumeReclaimPolicy"]);
        rules::known(spec, "persistentVolumeReclaimPolicy", &["Delete", "Recycle", "Retain"], &at, e);
        let affinity = get(spec, "nodeAffinity");
        if !affinity.is_null() {
            let here = at.child("nodeAffinity");
            match get(affinity, "required") {
                Value::Null => e.required(&here.child("required"), "must specify required node constraints"),
                required => scheduling::node_selector(required, &here.child("required"), e),
            }
        }
        pod_template::sources(spec, Sources::Persistent { name: value::text(object, &["metadata", "name"]) }, &at, e);
        if has(spec, "local") && affinity.is_null() {
            e.required(&at.child("nodeAffinity"), "Local volume requires node affinity");
        }
        let host = value::text(spec, &["hostPath", "path"]);
        if policy == "Recycle" && host.starts_with('/') && host.split('/').all(|step| matches!(step, "" | ".")) {
            e.forbidden(&at.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'");
        }
        class(spec, "storageClassName", &at, e);
        rules::known(spec, "volumeMode", &["Block", "Filesystem"], &at, e);
        if let Some(name) = get(spec, "volumeAttributesClassName").as_str() {
            let here = at.child("volumeAttributesClassName");
            if name.is_empty() {
                e.required(&here, "an empty string is disallowed");
            } else {
                rules::dns_subdomain(name, &here, e);
            }
            if !has(spec, "csi") {
                e.required(&at.child("csi"), "has to be specified when using volumeAttributesClassName");
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let mut changed = new.clone();
        // Where to find the secret for growing may be said later.
        if value::at(old, &["spec", "csi"]).is_some() && value::at(old, &["spec", "csi", "controllerExpandSecretRef"]).is_none() {
            value::remove(&mut changed, &["spec", "csi", "controllerExpandSecretRef"]);
        }
        if sources(&changed) != sources(old) {
            errors.forbidden(&path("spec.persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
        }
        let of = |object: &Value, name: &str| get(get(object, "spec"), name).clone();
        rules::immutable(&of(new, "volumeMode"), &of(old, "volumeMode"), &path("volumeMode"), &mut errors);
        let (after, before) = (of(new, "nodeAffinity"), of(old, "nodeAffinity"));
        if !before.is_null() && renamed_labels(&after) != renamed_labels(&before) {
            let why = format!("{}, except for updating from beta label to GA", rules::IMMUTABLE);
            errors.invalid(&path("nodeAffinity"), after, &why);
        }
        if !of(old, "volumeAttributesClassName").is_null() && of(new, "volumeAttributesClassName").is_null() {
            errors.forbidden(&path("spec.volumeAttributesClassName"), "update from non-nil value to nil is forbidden");
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut texts = Vec::new();
        let at = path("spec");
        let old = [
            (LEGACY_CLASS, "deprecated since v1.8; use \"storageClassName\" attribute instead"),
            ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
        ];
        for (key, why) in old.into_iter().filter(|(key, _)| value::at(object, &["metadata", "annotations", key]).is_some()) {
            texts.push(format!("{}: {why}", path("metadata.annotations").key(key)));
        }
        let spec = get(object, "spec");
        if value::text(spec, &["persistentVolumeReclaimPolicy"]) == "Recycle" {
            let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
            texts.push(format!("{}: {why}", at.child("persistentVolumeReclaimPolicy")));
        }
        for (i, term) in value::items(spec, &["nodeAffinity", "required", "nodeSelectorTerms"]).iter().enumerate() {
            let here = at.child("nodeAffinity").child("required").child("nodeSelectorTerms").index(i);
            pod_template::term_warnings(term, false, &here, &mut texts);
        }
        texts.extend(pod_template::source_warnings(spec, &at));
        texts
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

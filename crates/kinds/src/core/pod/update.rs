//! What of a pod may change once it is there: images, a deadline, more tolerations, and little else.

use super::super::pod_template::{self, annotations};
use crate::rules::{get, has, path, same};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// The whole of a pod, as it has to be after any change.
pub fn whole(pod: &Value) -> FieldErrors {
    let (spec, metadata, at) = (get(pod, "spec"), get(pod, "metadata"), path("spec"));
    let mut errors = FieldErrors::new();
    annotations::of_pod(metadata, spec, &path("metadata.annotations"), &mut errors);
    errors.extend(pod_template::validate_spec(spec, Some(metadata), &at));
    if value::text(spec, &["serviceAccountName"]).is_empty() {
        for (i, volume) in value::items(spec, &["volumes"]).iter().enumerate() {
            for (j, source) in value::items(volume, &["projected", "sources"]).iter().enumerate() {
                if has(source, "serviceAccountToken") {
                    let here = at.child("volumes").index(i).child("projected").child("sources").index(j).child("serviceAccountToken");
                    errors.forbidden(&here, "must not be specified when serviceAccountName is not set");
                }
            }
        }
    }
    for name in ["containers", "initContainers"] {
        for (i, container) in value::items(spec, &[name]).iter().enumerate() {
            pod_template::image_is_trimmed(container, &at.child(name).index(i), &mut errors);
        }
    }
    errors
}

pub fn validate(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = path("spec");
    annotations::unchanged(new, old, &path("metadata.annotations"), &mut errors);
    let (new_spec, old_spec) = (get(new, "spec"), get(old, "spec"));
    for name in ["containers", "initContainers"] {
        if value::items(new_spec, &[name]).len() != value::items(old_spec, &[name]).len() {
            errors.forbidden(&at.child(name), "pod updates may not add or remove containers");
            return errors;
        }
    }
    let deadline = at.child("activeDeadlineSeconds");
    match (value::int(old_spec, &["activeDeadlineSeconds"]), value::int(new_spec, &["activeDeadlineSeconds"])) {
        (Some(_), None) => errors.invalid(&deadline, Value::Null, "must not update from a positive integer to nil value"),
        (Some(before), Some(after)) if after > before => {
            errors.invalid(&deadline, after, "must be less than or equal to previous value");
        }
        _ => {}
    }
    tolerations(new_spec, old_spec, &at.child("tolerations"), &mut errors);
    for (i, gate) in value::items(new_spec, &["schedulingGates"]).iter().enumerate() {
        let name = value::text(gate, &["name"]);
        if !value::items(old_spec, &["schedulingGates"]).iter().any(|g| value::text(g, &["name"]) == name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&at.child("schedulingGates").index(i).child("name"), &why);
        }
    }
    let mut allowed = new_spec.clone();
    for name in ["containers", "initContainers"] {
        let images: Vec<Value> = value::items(old_spec, &[name]).iter().map(|c| get(c, "image").clone()).collect();
        for (container, image) in value::items_mut(&mut allowed, &[name]).iter_mut().zip(images) {
            value::set(container, &["image"], image);
        }
    }
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        value::carry(&mut allowed, old_spec, &[name]);
    }
    let grace = |of: &Value| value::int(of, &["terminationGracePeriodSeconds"]);
    if grace(old_spec).is_some_and(|s| s < 0) && grace(new_spec) == Some(1) {
        value::carry(&mut allowed, old_spec, &["terminationGracePeriodSeconds"]);
    }
    if !value::items(old_spec, &["schedulingGates"]).is_empty() {
        // A pod that nobody places yet may be told more of where it must go.
        narrowed(new_spec, old_spec, &mut allowed, &at, &mut errors);
    }
    if !equal(&allowed, old_spec) {
        errors.forbidden(&at, FORBIDDEN);
    }
    errors
}

/// The same but for what is empty on one side and missing on the other.
fn equal(new: &Value, old: &Value) -> bool {
    let (Some(a), Some(b)) = (new.as_object(), old.as_object()) else { return same(new, old) };
    a.keys().chain(b.keys()).all(|key| same(get(new, key), get(old, key)))
}

fn tolerations(new: &Value, old: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let bare = |of: &Value| {
        let mut all = value::items(of, &["tolerations"]).to_vec();
        // How long something is tolerated may change.
        all.iter_mut().for_each(|t| drop(value::remove(t, &["tolerationSeconds"])));
        all
    };
    let after = bare(new);
    for _ in bare(old).iter().filter(|t| !after.contains(t)) {
        errors.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn narrowed(new: &Value, old: &Value, allowed: &mut Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (key, text) in crate::rules::texts(old, &["nodeSelector"]) {
        if value::at(new, &["nodeSelector", key]).and_then(Value::as_str) != Some(text) {
            let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&at.child("nodeSelector"), get(new, "nodeSelector").clone(), why);
        }
    }
    value::carry(allowed, old, &["nodeSelector"]);
    let terms = |of: &Value| value::items(of, &["affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"]).to_vec();
    let here = at.child("affinity").child("nodeAffinity").child(REQUIRED).child("nodeSelectorTerms");
    let (before, after) = (terms(old), terms(new));
    if !before.is_empty() && before.len() != after.len() {
        errors.invalid(&here, after, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    } else {
        for (i, (old, new)) in before.iter().zip(&after).enumerate().filter(|(_, (old, new))| !only_added(new, old)) {
            let _ = old;
            errors.invalid(&here.index(i), new.clone(), "only additions are allowed (no mutations or deletions)");
        }
    }
    value::carry(allowed, old, &["affinity", "nodeAffinity"]);
    if !has(old, "affinity") && get(allowed, "affinity").as_object().is_some_and(serde_json::Map::is_empty) {
        value::remove(allowed, &["affinity"]);
    }
}

fn only_added(new: &Value, old: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    // A term that is empty matches nothing, and would match something.
    if lists.iter().all(|l| value::items(old, &[l]).is_empty()) {
        return lists.iter().all(|l| value::items(new, &[l]).is_empty());
    }
    lists.iter().all(|l| value::items(new, &[l]).starts_with(value::items(old, &[l])))
}

/// `/ephemeralcontainers`
pub fn only_ephemeral(new: &mut Value, old: &Value) {
    let containers = value::at(new, &["spec", "ephemeralContainers"]).cloned();
    super::super::namespace::keep_managed(new, old);
    match containers {
        Some(containers) => value::set(new, &["spec", "ephemeralContainers"], containers),
        None => drop(value::remove(new, &["spec", "ephemeralContainers"])),
    }
    for container in value::items_mut(new, &["spec", "ephemeralContainers"]) {
        pod_template::default_container(container);
    }
}

pub fn validate_ephemeral(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = whole(new);
    if value::at(old, &["metadata", "annotations", annotations::MIRROR]).is_some() {
        let mut errors = FieldErrors::new();
        errors.forbidden(&FieldPath::root(), "static pods do not support ephemeral containers");
        return errors;
    }
    let at = path("spec.ephemeralContainers");
    let (after, before) = (value::items(new, &["spec", "ephemeralContainers"]), value::items(old, &["spec", "ephemeralContainers"]));
    for there in before {
        let name = value::text(there, &["name"]);
        match after.iter().find(|c| value::text(c, &["name"]) == name) {
            None => errors.forbidden(&at, &format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(changed) if changed != there => {
                errors.forbidden(&at, &format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
    errors
}

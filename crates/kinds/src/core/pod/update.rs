//! What of a pod may change once it is there: images, a deadline, more tolerations, and little else.

use crate::rules::{get, path};
use meta::{FieldErrors, value};
use serde_json::Value;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn validate(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = path("spec");
    let (new_spec, old_spec) = (get(new, "spec"), get(old, "spec"));
    for name in ["containers", "initContainers"] {
        let (a, b) = (value::items(new_spec, &[name]), value::items(old_spec, &[name]));
        if a.len() != b.len() {
            errors.forbidden(&at.child(name), "pod updates may not add or remove containers");
            return errors;
        }
        for (i, container) in a.iter().enumerate() {
            if value::text(container, &["image"]).trim().is_empty() {
                errors.required(&at.child(name).index(i).child("image"), "");
            }
        }
    }
    let (before, after) = (value::int(old_spec, &["activeDeadlineSeconds"]), value::int(new_spec, &["activeDeadlineSeconds"]));
    match (before, after) {
        (Some(_), None) => {
            errors.invalid(&at.child("activeDeadlineSeconds"), Value::Null, "must not update from a positive integer to nil value")
        }
        (Some(b), Some(a)) if a > b => {
            errors.invalid(&at.child("activeDeadlineSeconds"), a, "must be less than or equal to previous value");
        }
        _ => {}
    }
    let mut allowed = new_spec.clone();
    for name in ["containers", "initContainers"] {
        let images: Vec<Value> = value::items(old_spec, &[name]).iter().map(|c| get(c, "image").clone()).collect();
        for (container, image) in value::items_mut(&mut allowed, &[name]).iter_mut().zip(images) {
            value::set(container, &["image"], image);
        }
    }
    let gated = !value::items(old_spec, &["schedulingGates"]).is_empty();
    value::carry(&mut allowed, old_spec, &["activeDeadlineSeconds"]);
    if value::int(old_spec, &["terminationGracePeriodSeconds"]).is_some_and(|s| s < 0)
        && value::int(new_spec, &["terminationGracePeriodSeconds"]) == Some(1)
    {
        value::carry(&mut allowed, old_spec, &["terminationGracePeriodSeconds"]);
    }
    let tolerations = |v: &Value| {
        let mut all = value::items(v, &["tolerations"]).to_vec();
        // How long something is tolerated may change.
        all.iter_mut().for_each(|t| drop(value::remove(t, &["tolerationSeconds"])));
        all
    };
    if tolerations(old_spec).iter().all(|t| tolerations(new_spec).contains(t)) {
        value::carry(&mut allowed, old_spec, &["tolerations"]);
    } else {
        errors.forbidden(&at.child("tolerations"), "existing toleration can not be modified except its tolerationSeconds");
    }
    let kept: Vec<Value> = value::items(new_spec, &["schedulingGates"]).to_vec();
    if kept.iter().all(|g| value::items(old_spec, &["schedulingGates"]).contains(g)) {
        value::carry(&mut allowed, old_spec, &["schedulingGates"]);
    } else {
        errors.forbidden(&at.child("schedulingGates"), "only deletion is allowed, but found new scheduling gate");
    }
    if gated {
        // A pod that nobody places yet may still be told where it must go.
        value::carry(&mut allowed, old_spec, &["nodeSelector"]);
        value::carry(&mut allowed, old_spec, &["affinity"]);
    }
    if allowed != *old_spec {
        errors.forbidden(&at, FORBIDDEN);
    }
    errors
}

/// `/ephemeralcontainers`
pub fn only_ephemeral(new: &mut Value, old: &Value) {
    let containers = value::at(new, &["spec", "ephemeralContainers"]).cloned();
    super::super::namespace::keep_managed(new, old);
    if let Some(containers) = containers {
        value::set(new, &["spec", "ephemeralContainers"], containers);
    }
    for container in value::items_mut(new, &["spec", "ephemeralContainers"]) {
        super::super::pod_template::default_container(container);
    }
}

pub fn validate_ephemeral(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = path("spec.ephemeralContainers");
    let (after, before) = (value::items(new, &["spec", "ephemeralContainers"]), value::items(old, &["spec", "ephemeralContainers"]));
    for there in before {
        match after.iter().find(|c| get(c, "name") == get(there, "name")) {
            None => errors.forbidden(&at, "existing ephemeral containers may not be removed"),
            Some(changed) if changed != there => errors.forbidden(&at, "existing ephemeral containers may not be changed"),
            Some(_) => {}
        }
    }
    for (i, container) in after.iter().enumerate() {
        if value::text(container, &["name"]).is_empty() {
            errors.required(&at.index(i).child("name"), "");
        }
        if value::text(container, &["image"]).is_empty() {
            errors.required(&at.index(i).child("image"), "");
        }
    }
    errors
}

/// `/resize`
pub fn only_resources(new: &mut Value, old: &Value) {
    let mut result = new.clone();
    super::super::namespace::keep_managed(&mut result, old);
    for name in ["containers", "initContainers"] {
        let wanted: Vec<Value> = value::items(new, &["spec", name]).to_vec();
        for container in value::items_mut(&mut result, &["spec", name]) {
            if let Some(same) = wanted.iter().find(|c| get(c, "name") == get(container, "name")) {
                value::carry(container, same, &["resources"]);
                value::carry(container, same, &["resizePolicy"]);
            }
        }
    }
    *new = result;
}

//! `/resize`: more or less cpu and memory for a pod that runs.

use super::super::pod_template::{annotations, qos};
use super::update::whole;
use crate::rules::{get, has, path};
use meta::{FieldErrors, FieldPath, value};
use serde_json::{Map, Value};

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Nothing but resources comes through; containers that do not match stay, to be complained about.
pub fn only_resources(new: &mut Value, old: &Value) {
    let count = |of: &Value, list: &str| value::items(of, &["spec", list]).len();
    if LISTS.iter().any(|list| count(new, list) != count(old, list)) {
        return;
    }
    let mut result = new.clone();
    super::super::namespace::keep_managed(&mut result, old);
    value::carry(&mut result, new, &["spec", "resources"]);
    for list in LISTS {
        let wanted = value::items(new, &["spec", list]);
        let before = value::items(old, &["spec", list]);
        if wanted.iter().zip(before).any(|(a, b)| get(a, "name") != get(b, "name")) {
            value::set(&mut result, &["spec", list], wanted.to_vec());
            continue;
        }
        for (container, wanted) in value::items_mut(&mut result, &["spec", list]).iter_mut().zip(wanted) {
            value::carry(container, wanted, &["resources"]);
            value::carry(container, wanted, &["resizePolicy"]);
        }
    }
    *new = result;
}

fn refusal(why: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    errors.forbidden(&FieldPath::root(), why);
    errors
}

pub fn validate(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = whole(new);
    if value::at(old, &["metadata", "annotations", annotations::MIRROR]).is_some() {
        return refusal("static pods cannot be resized");
    }
    if value::text(old, &["spec", "os", "name"]) == "windows" {
        return refusal("windows pods cannot be resized");
    }
    let at = path("spec");
    let (after, before) = (get(new, "spec"), get(old, "spec"));
    let class = Some(value::text(old, &["status", "qosClass"])).filter(|c| !c.is_empty()).unwrap_or_else(|| qos(before));
    if class != qos(after) {
        let shown = value::text(new, &["status", "qosClass"]);
        errors.invalid(&at, shown, "Pod QOS Class may not change as a result of resizing");
    }
    let running = value::items(old, &["status", "containerStatuses"]).iter().find(|s| value::at(s, &["state", "running"]).is_some());
    if running.is_some_and(|status| !has(status, "resources")) {
        errors.forbidden(&at, "Pod running on node without support for resize");
    }
    pod_level(after, before, &at, &mut errors);
    if !value::items(old, &["status", "nodeAllocatableResourceClaimStatuses"]).is_empty() {
        errors.forbidden(&at, "pods with node allocatable resource claims cannot be resized");
    }
    let found = errors.0.len();
    for list in LISTS {
        let (a, b) = (value::items(after, &[list]), value::items(before, &[list]));
        if a.len() != b.len() {
            errors.forbidden(&at.child(list), &format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (i, _) in a.iter().zip(b).enumerate().filter(|(_, (a, b))| get(a, "name") != get(b, "name")) {
            errors.forbidden(&at.child(list).index(i).child("name"), "containers may not be renamed or reordered on resize");
        }
    }
    if errors.0.len() > found {
        return errors;
    }
    for list in ["initContainers", "containers"] {
        for (i, (a, b)) in value::items(after, &[list]).iter().zip(value::items(before, &[list])).enumerate() {
            one(a, b, list, &at.child(list).index(i), &mut errors);
        }
    }
    errors
}

fn one(new: &Value, old: &Value, list: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let (a, b) = (get(new, "resources"), get(old, "resources"));
    let here = at.child("resources");
    if removed(a, b, "requests") {
        errors.forbidden(&here.child("requests"), "resource requests cannot be removed");
    }
    if removed(a, b, "limits") {
        errors.forbidden(&here.child("limits"), "resource limits cannot be removed");
    }
    let sidecar = value::text(new, &["restartPolicy"]) == "Always";
    if without_basics(new) != without_basics(old) {
        match list {
            "containers" => errors.forbidden(&path("spec"), "only cpu and memory resources are mutable"),
            _ => errors.forbidden(at, "only cpu and memory resources for init or sidecar containers are mutable"),
        }
    }
    let restarts = |c: &Value| value::items(c, &["resizePolicy"]).iter().any(|p| value::text(p, &["restartPolicy"]) == "RestartContainer");
    if list == "initContainers" && new != old && !sidecar && restarts(new) {
        errors.forbidden(at, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
    }
}

fn pod_level(new: &Value, old: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (a, b) = (get(new, "resources"), get(old, "resources"));
    let here = at.child("resources");
    if !b.is_null() && a.is_null() {
        return errors.forbidden(&here, "pod-level resources cannot be removed");
    }
    for kind in ["requests", "limits"] {
        if removed(a, b, kind) {
            errors.forbidden(&here.child(kind), &format!("pod-level resource {kind} cannot be removed"));
        }
    }
    if bare(a) != bare(b) {
        errors.forbidden(at, "only cpu and memory resources are mutable at pod-level");
    }
}

fn removed(new: &Value, old: &Value, kind: &str) -> bool {
    let before = get(old, kind).as_object();
    before.is_some_and(|before| before.keys().any(|name| value::at(new, &[kind, name]).is_none()))
}

/// Resources apart from cpu and memory; what is empty is as good as missing.
fn bare(resources: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, found) in resources.as_object().into_iter().flatten() {
        let mut found = found.clone();
        if let Some(amounts) = found.as_object_mut() {
            amounts.retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
        }
        if !crate::rules::same(&found, &Value::Null) {
            out.insert(key.clone(), found);
        }
    }
    out
}

fn without_basics(container: &Value) -> Value {
    let mut container = container.clone();
    let resources = bare(get(&container, "resources"));
    value::set(&mut container, &["resources"], resources);
    container
}

//! Annotations that used to be what fields are now.

use super::visit;
use crate::rules;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

pub const MIRROR: &str = "kubernetes.io/config.mirror";
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    // A plus and leading zeros are refused so that there is one way to write each number.
    text.parse::<i32>().is_ok() && !text.starts_with('+') && (digits == "0" || !digits.starts_with('0'))
}

pub fn of_pod(metadata: &Value, spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (key, text) in rules::texts(metadata, &["annotations"]) {
        match key {
            MIRROR if value::text(spec, &["nodeName"]).is_empty() => {
                errors.invalid(&at.key(MIRROR), text, "must set spec.nodeName if mirror pod annotation is set");
            }
            COST if !is_cost(text) => errors.invalid(&at.key(COST), text, "must be a 32bit integer"),
            SECCOMP_POD => seccomp(text, &at.child(key), errors),
            _ if key.starts_with(SECCOMP_CONTAINER) => seccomp(text, &at.child(key), errors),
            _ => {}
        }
        if let Some(name) = key.strip_prefix(APP_ARMOR) {
            let mut there = false;
            visit(spec, &FieldPath::root(), |container, _| there |= value::text(container, &["name"]) == name);
            if !there {
                errors.invalid(&at.key(key), name, "container not found");
            }
            if !matches!(text, "" | "runtime/default" | "unconfined") && !text.starts_with("localhost/") {
                errors.invalid(&at.key(key), text, &format!("invalid AppArmor profile name: {text:?}"));
            }
        }
    }
}

fn seccomp(profile: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(path) = profile.strip_prefix("localhost/") {
        rules::descending_path(path, at, errors);
    } else if !matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
        errors.invalid(at, profile, "must be a valid seccomp profile");
    }
}

/// Where both are set, annotations and fields have to say the same.
pub fn agree(metadata: &Value, spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let annotation = |key: &str| value::at(metadata, &["annotations", key]).and_then(Value::as_str);
    let own = |of: &'_ Value, name: &str| value::at(of, &["securityContext", name]).cloned().unwrap_or_default();
    let of_pod = own(spec, "appArmorProfile");
    if let Some(text) = annotation(SECCOMP_POD) {
        matching(text, &own(spec, "seccompProfile"), "seccomp", &at.child("securityContext").child("seccompProfile"), errors);
    }
    visit(spec, at, |container, path| {
        let name = value::text(container, &["name"]);
        let path = path.child("securityContext");
        if let Some(text) = annotation(&format!("{SECCOMP_CONTAINER}{name}")) {
            matching(text, &own(container, "seccompProfile"), "seccomp", &path.child("seccompProfile"), errors);
        }
        if value::text(spec, &["os", "name"]) == "windows" {
            return;
        }
        if let Some(text) = annotation(&format!("{APP_ARMOR}{name}")) {
            let field = Some(own(container, "appArmorProfile")).filter(|f| !f.is_null()).unwrap_or_else(|| of_pod.clone());
            matching(text, &field, "apparmor", &path.child("appArmorProfile"), errors);
        }
    });
}

fn matching(annotation: &str, field: &Value, what: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let types = format!("{what} type in annotation and field must match");
    let fits = match value::text(field, &["type"]) {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default"),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(path) if value::at(field, &["localhostProfile"]).and_then(Value::as_str) != Some(path) => {
                errors.forbidden(&at.child("localhostProfile"), &format!("{what} profile in annotation and field must match"));
                true
            }
            found => found.is_some(),
        },
        _ => true,
    };
    if !fits {
        errors.forbidden(&at.child("type"), &types);
    }
}

/// Of a pod that is there some may not change any more.
pub fn unchanged(new: &Value, old: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let get = |of: &Value, key: &str| value::at(of, &["metadata", "annotations", key]).cloned();
    for (key, _) in rules::texts(old, &["metadata", "annotations"]).filter(|(key, _)| get(new, key) != get(old, key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for (key, _) in rules::texts(new, &["metadata", "annotations"]).filter(|(key, _)| get(old, key).is_none()) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not add mirror pod annotation");
        }
    }
}

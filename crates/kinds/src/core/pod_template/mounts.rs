//! Where containers see the pod's volumes.

use super::Context;
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];

/// A container's mounts name volumes that are there, at places of their own.
pub fn mounts(container: &Value, pod: &Context<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let at = at.child("volumeMounts");
    let mounts = value::items(container, &["volumeMounts"]);
    let devices = value::items(container, &["volumeDevices"]);
    let privileged = value::flag(container, &["securityContext", "privileged"]);
    for (i, mount) in mounts.iter().enumerate() {
        let here = at.index(i);
        let text = |name: &str| value::text(mount, &[name]);
        let (name, path) = (text("name"), text("mountPath"));
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        }
        if pod.volume(name).is_none() {
            errors.not_found(&here.child("name"), name);
        }
        if path.is_empty() {
            errors.required(&here.child("mountPath"), "");
        }
        if mounts[..i].iter().any(|m| value::text(m, &["mountPath"]) == path) {
            errors.invalid(&here.child("mountPath"), path, "must be unique");
        }
        if devices.iter().any(|d| value::text(d, &["name"]) == name) {
            errors.invalid(&here.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|d| value::text(d, &["devicePath"]) == path) {
            errors.invalid(&here.child("mountPath"), path, "must not already exist as a path in volumeDevices");
        }
        let (sub, expression) = (text("subPath"), text("subPathExpr"));
        if !sub.is_empty() {
            rules::descending_path(sub, &at.child("subPath"), errors);
        }
        if !expression.is_empty() {
            if !sub.is_empty() {
                errors.invalid(&here.child("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive");
            }
            rules::descending_path(expression, &at.child("subPathExpr"), errors);
        }
        if let Some(propagation) = get(mount, "mountPropagation").as_str() {
            let here = at.child("mountPropagation");
            if !PROPAGATIONS.contains(&propagation) {
                errors.not_supported(&here, propagation, &PROPAGATIONS);
            }
            if propagation == "Bidirectional" && !privileged {
                errors.forbidden(&here, "Bidirectional mount propagation is available only to privileged containers");
            }
        }
        read_only(mount, &at.child("recursiveReadOnly"), errors);
    }
}

fn read_only(mount: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    match get(mount, "recursiveReadOnly").as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !value::flag(mount, &["readOnly"]) {
                errors.forbidden(at, "may only be specified when readOnly is true");
            }
            if !matches!(get(mount, "mountPropagation").as_str(), None | Some("None")) {
                errors.forbidden(at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// Volumes as block devices.
pub fn devices(container: &Value, pod: &Context<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let at = at.child("volumeDevices");
    let devices = value::items(container, &["volumeDevices"]);
    let mounts = value::items(container, &["volumeMounts"]);
    for (i, device) in devices.iter().enumerate() {
        let here = at.index(i);
        let (name, path) = (value::text(device, &["name"]), value::text(device, &["devicePath"]));
        let before = &devices[..i];
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else if before.iter().any(|d| value::text(d, &["name"]) == name) {
            errors.invalid(&here.child("name"), name, "must be unique");
        }
        match pod.volume(name) {
            None => errors.not_found(&here.child("name"), name),
            Some(volume) if !has(volume, "persistentVolumeClaim") && !has(volume, "ephemeral") => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&here.child("name"), name, why);
            }
            Some(_) => {}
        }
        if path.is_empty() {
            errors.required(&here.child("devicePath"), "");
        } else if before.iter().any(|d| value::text(d, &["devicePath"]) == path) {
            errors.invalid(&here.child("devicePath"), path, "must be unique");
        }
        if path.split('/').any(|step| step == "..") {
            errors.invalid(&here.child("devicePath"), path, "can not contain backsteps ('..')");
        }
        if mounts.iter().any(|m| value::text(m, &["name"]) == name) {
            errors.invalid(&here.child("name"), name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|m| value::text(m, &["mountPath"]) == path) {
            errors.invalid(&here.child("devicePath"), path, "must not already exist as a path in volumeMounts");
        }
    }
}

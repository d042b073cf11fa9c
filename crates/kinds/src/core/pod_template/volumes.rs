//! What volumes may not be.

use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

const HOST_PATH_TYPES: [&str; 8] = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

pub fn all(volumes: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, volume) in volumes.iter().enumerate() {
        let here = at.index(i);
        let name = value::text(volume, &["name"]);
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else {
            rules::messages(validate::dns_label(name, false), name, &here.child("name"), errors);
        }
        if volumes[..i].iter().any(|v| value::text(v, &["name"]) == name) {
            errors.duplicate(&here.child("name"), name);
        }
        let sources: Vec<&String> =
            volume.as_object().into_iter().flatten().filter(|(k, v)| *k != "name" && !v.is_null()).map(|(k, _)| k).collect();
        if sources.is_empty() {
            errors.required(&here, "must specify a volume type");
        }
        for more in sources.iter().skip(1) {
            errors.forbidden(&here.child(more), "may not specify more than 1 volume type");
        }
        source(volume, &here, errors);
    }
}

fn source(volume: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let required = |path: &[&str], errors: &mut FieldErrors| {
        if value::text(volume, path).is_empty() {
            errors.required(&path.iter().fold(at.clone(), |p, s| p.child(s)), "");
        }
    };
    if !get(volume, "hostPath").is_null() {
        required(&["hostPath", "path"], errors);
        if value::text(volume, &["hostPath", "path"]).split('/').any(|s| s == "..") {
            let path = value::text(volume, &["hostPath", "path"]);
            errors.invalid(&at.child("hostPath").child("path"), path, "must not contain '..'");
        }
        let ty = value::text(volume, &["hostPath", "type"]);
        if !HOST_PATH_TYPES.contains(&ty) {
            errors.not_supported(&at.child("hostPath").child("type"), ty, &HOST_PATH_TYPES);
        }
    }
    if !get(volume, "secret").is_null() {
        required(&["secret", "secretName"], errors);
    }
    if !get(volume, "configMap").is_null() {
        required(&["configMap", "name"], errors);
    }
    if !get(volume, "persistentVolumeClaim").is_null() {
        required(&["persistentVolumeClaim", "claimName"], errors);
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(mode) = value::int(volume, &[name, "defaultMode"]).filter(|m| !(0..=0o777).contains(m)) {
            errors.invalid(&at.child(name).child("defaultMode"), mode, "must be a number between 0 and 0777 (octal), both inclusive");
        }
        for (i, item) in value::items(volume, &[name, "items"]).iter().enumerate() {
            let at = at.child(name).child("items").index(i);
            if name != "downwardAPI" && value::text(item, &["key"]).is_empty() {
                errors.required(&at.child("key"), "");
            }
            relative(value::text(item, &["path"]), &at.child("path"), errors);
        }
    }
}

fn relative(found: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if found.is_empty() {
        errors.required(at, "");
    } else if found.starts_with('/') {
        errors.invalid(at, found, "must be a relative path");
    } else if found.split('/').any(|s| s == "..") {
        errors.invalid(at, found, "must not contain '..'");
    }
}

/// A container's mounts name volumes that are there, at places of their own.
pub fn mounts(container: &Value, volumes: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    let known = |name: &str| volumes.iter().any(|v| value::text(v, &["name"]) == name);
    let mounts = value::items(container, &["volumeMounts"]);
    for (i, mount) in mounts.iter().enumerate() {
        let here = at.child("volumeMounts").index(i);
        let name = value::text(mount, &["name"]);
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else if !known(name) {
            errors.not_found(&here.child("name"), name);
        }
        let path = value::text(mount, &["mountPath"]);
        if path.is_empty() {
            errors.required(&here.child("mountPath"), "");
        } else if mounts[..i].iter().any(|m| value::text(m, &["mountPath"]) == path) {
            errors.invalid(&here.child("mountPath"), path, "must be unique");
        }
        let sub = value::text(mount, &["subPath"]);
        if !sub.is_empty() {
            relative(sub, &here.child("subPath"), errors);
            if !value::text(mount, &["subPathExpr"]).is_empty() {
                errors.invalid(
                    &here.child("subPathExpr"),
                    value::text(mount, &["subPathExpr"]),
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
        }
    }
    for (i, device) in value::items(container, &["volumeDevices"]).iter().enumerate() {
        let name = value::text(device, &["name"]);
        if !known(name) {
            errors.not_found(&at.child("volumeDevices").index(i).child("name"), name);
        }
    }
}

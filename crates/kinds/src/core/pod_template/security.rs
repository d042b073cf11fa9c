//! What pods and containers may do, as whom, and what confines them.

use super::{visit, windows};
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;
use std::collections::HashSet;

const MAX_ID: i64 = i32::MAX as i64;
const SYSCTL: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn ids(found: &Value, names: &[&str], at: &FieldPath, errors: &mut FieldErrors) {
    for name in names {
        rules::within(found, name, 0, MAX_ID, at, errors);
    }
}

pub fn container(found: &Value, host_users: bool, at: &FieldPath, errors: &mut FieldErrors) {
    if found.is_null() {
        return;
    }
    ids(found, &["runAsUser", "runAsGroup"], at, errors);
    if let Some(mount) = get(found, "procMount").as_str() {
        let here = at.child("procMount");
        match mount {
            "Default" => {}
            "Unmasked" if host_users => errors.invalid(&here, mount, "`hostUsers` must be false to use `Unmasked`"),
            "Unmasked" => {}
            other => errors.not_supported(&here, other, &["Default", "Unmasked"]),
        }
    }
    seccomp(get(found, "seccompProfile"), &at.child("seccompProfile"), errors);
    if get(found, "allowPrivilegeEscalation") == &Value::Bool(false) {
        if value::flag(found, &["privileged"]) {
            errors.invalid(at, found.clone(), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        for _ in value::items(found, &["capabilities", "add"]).iter().filter(|c| *c == "CAP_SYS_ADMIN") {
            errors.invalid(at, found.clone(), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::options(get(found, "windowsOptions"), &at.child("windowsOptions"), errors);
    app_armor(get(found, "appArmorProfile"), &at.child("appArmorProfile"), errors);
}

fn seccomp(profile: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if profile.is_null() {
        return;
    }
    let ty = value::text(profile, &["type"]);
    match ty {
        "" => errors.required(&at.child("type"), "type is required when seccompProfile is set"),
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        other => errors.not_supported(&at.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    let here = at.child("localhostProfile");
    match (ty, get(profile, "localhostProfile").as_str()) {
        ("Localhost", None) => errors.required(&here, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(path)) => rules::descending_path(path, &here, errors),
        (_, Some(_)) => errors.invalid(&here, profile.clone(), "can only be set when seccomp type is Localhost"),
        (_, None) => {}
    }
}

fn app_armor(profile: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if profile.is_null() {
        return;
    }
    let here = at.child("localhostProfile");
    let given = get(profile, "localhostProfile").as_str();
    match value::text(profile, &["type"]) {
        "Localhost" => {
            let given = given.unwrap_or_default();
            if given.trim().is_empty() && given.trim() == given {
                errors.required(&here, "must be set when AppArmor type is Localhost");
            } else if given.trim() != given {
                errors.invalid(&here, given, "must not be padded with whitespace");
            }
            if given.len() > 4095 {
                errors.too_long(&here, 4095);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if let Some(given) = given {
                errors.invalid(&here, given, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&at.child("type"), "type is required when appArmorProfile is set"),
        other => errors.not_supported(&at.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

/// Of the pod as a whole; host namespaces are fields of the spec.
pub fn pod(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let found = get(spec, "securityContext");
    let here = at.child("securityContext");
    ids(found, &["fsGroup", "runAsUser", "runAsGroup"], &here, errors);
    for (i, group) in value::items(found, &["supplementalGroups"]).iter().enumerate() {
        if group.as_i64().is_some_and(|g| !(0..=MAX_ID).contains(&g)) {
            errors.invalid(&here.child("supplementalGroups").index(i), group.clone(), "must be between 0 and 2147483647, inclusive");
        }
    }
    if value::flag(spec, &["shareProcessNamespace"]) && value::flag(spec, &["hostPID"]) {
        errors.invalid(&here.child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(spec, &here.child("sysctls"), errors);
    rules::known(found, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], &here, errors);
    seccomp(get(found, "seccompProfile"), &here.child("seccompProfile"), errors);
    windows::options(get(found, "windowsOptions"), &here.child("windowsOptions"), errors);
    app_armor(get(found, "appArmorProfile"), &here.child("appArmorProfile"), errors);
    rules::known(found, "supplementalGroupsPolicy", &["Merge", "Strict"], &here, errors);
    rules::known(found, "seLinuxChangePolicy", &["MountOption", "Recursive"], &here, errors);
}

fn is_sysctl(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn sysctls(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for (i, sysctl) in value::items(spec, &["securityContext", "sysctls"]).iter().enumerate() {
        let here = at.index(i).child("name");
        let name = value::text(sysctl, &["name"]);
        let known = !seen.insert(name);
        if name.is_empty() {
            errors.required(&here, "");
        } else if !is_sysctl(name) {
            errors.invalid(&here, name, &format!("must have at most 253 characters and match regex {SYSCTL}"));
        } else if known {
            errors.duplicate(&here, name);
        }
        // A slash as first separator swaps slashes and dots.
        let dotted = match name.find(['.', '/']) {
            Some(i) if name.as_bytes().get(i) == Some(&b'/') => name
                .chars()
                .map(|c| {
                    if c == '/' {
                        '.'
                    } else if c == '.' {
                        '/'
                    } else {
                        c
                    }
                })
                .collect(),
            _ => name.to_string(),
        };
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p)) || dotted == "kernel.sem";
        if dotted.starts_with("net.") && value::flag(spec, &["hostNetwork"]) {
            errors.invalid(&here, name, "may not be specified when 'hostNetwork' is true");
        } else if of_ipc && value::flag(spec, &["hostIPC"]) {
            errors.invalid(&here, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

/// A pod with users of its own shares no other namespace with its node.
pub fn own_users(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if get(spec, "hostUsers") != &Value::Bool(false) {
        return;
    }
    for (name, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if value::flag(spec, &[name]) {
            errors.forbidden(&at.child(shown), "when `hostUsers` is false");
        }
    }
    visit(spec, at, |container, path| {
        if !value::items(container, &["volumeDevices"]).is_empty() {
            errors.forbidden(&path.child("volumeDevices"), "when `hostUsers` is false");
        }
    });
}

/// What one system cannot do is not asked of it.
pub fn operating_system(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if !has(spec, "os") {
        return;
    }
    match value::text(spec, &["os", "name"]) {
        "" => errors.required(&at.child("os").child("name"), ""),
        "linux" => windows::not_on_linux(spec, at, errors),
        "windows" => windows::only_on_linux(spec, at, errors),
        other => errors.not_supported(&at.child("os"), other, &["linux", "windows"]),
    }
}

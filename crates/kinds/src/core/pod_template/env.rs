//! What a container's environment may be made of.

use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

/// Of the pod, as its environment can show it.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Of the pod, as a file can show it.
pub const FILE_FIELDS: [&str; 5] = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: [&str; 6] =
    ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
const UNITS: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

pub fn variables(all: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, env) in all.iter().enumerate() {
        let here = at.index(i);
        let name = value::text(env, &["name"]);
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else {
            rules::messages(validate::relaxed_env_var_name(name), name, &here.child("name"), errors);
        }
        if has(env, "valueFrom") {
            source(env, &here.child("valueFrom"), errors);
        }
    }
}

fn source(env: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let from = get(env, "valueFrom");
    let mut given = 0;
    for name in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let reference = get(from, name);
        if reference.is_null() {
            continue;
        }
        given += 1;
        let here = at.child(name);
        match name {
            "fieldRef" => field(reference, &ENV_FIELDS, &here, errors),
            "resourceFieldRef" => resource_field(reference, false, &here, errors),
            "fileKeyRef" => file_key(reference, &here, errors),
            _ => key(reference, &here, errors),
        }
    }
    if given == 0 {
        errors.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if !value::text(env, &["value"]).is_empty() {
        errors.invalid(at, "", "may not be specified when `value` is not empty");
    } else if given > 1 {
        errors.invalid(at, "", "may not have more than one field specified at a time");
    }
}

/// A key of a config map or a secret.
fn key(reference: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (name, key) = (value::text(reference, &["name"]), value::text(reference, &["key"]));
    rules::dns_subdomain(name, &at.child("name"), errors);
    if key.is_empty() {
        errors.required(&at.child("key"), "");
    } else {
        rules::messages(validate::config_map_key(key), key, &at.child("key"), errors);
    }
}

fn file_key(reference: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let text = |name: &str| value::text(reference, &[name]);
    rules::required_texts(reference, &["key"], at, errors);
    if !text("key").is_empty() {
        rules::messages(validate::relaxed_env_var_name(text("key")), text("key"), &at.child("key"), errors);
    }
    rules::required_texts(reference, &["volumeName"], at, errors);
    if !text("volumeName").is_empty() {
        rules::dns_label(text("volumeName"), &at.child("volumeName"), errors);
    }
    rules::required_texts(reference, &["path"], at, errors);
    rules::no_backsteps(text("path"), &at.child("path"), errors);
}

/// Where in a pod a value is taken from; `fields` are those that can be taken whole.
pub fn field(reference: &Value, fields: &[&str], at: &FieldPath, errors: &mut FieldErrors) {
    let (version, found) = (value::text(reference, &["apiVersion"]), value::text(reference, &["fieldPath"]));
    if version.is_empty() {
        errors.required(&at.child("apiVersion"), "");
        return;
    }
    if found.is_empty() {
        errors.required(&at.child("fieldPath"), "");
        return;
    }
    let here = at.child("fieldPath");
    let (path, subscript) = match found.strip_suffix("']").and_then(|rest| rest.split_once("['")) {
        Some((path, subscript)) if !path.is_empty() && !subscript.is_empty() => (path, Some(subscript)),
        _ => (found, None),
    };
    let path = if path == "spec.host" { "spec.nodeName" } else { path };
    let whole = ["spec.restartPolicy", "spec.schedulerName", "status.phase"];
    let convertible = if subscript.is_some() {
        ["metadata.annotations", "metadata.labels"].contains(&path)
    } else {
        ENV_FIELDS.contains(&path) || FILE_FIELDS.contains(&path) || whole.contains(&path)
    };
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        errors.invalid(&here, found, &why);
        return;
    }
    if !convertible {
        let why = if subscript.is_some() {
            format!("error converting fieldPath: field label does not support subscript: {found}")
        } else {
            format!("error converting fieldPath: field label not supported: {found}")
        };
        errors.invalid(&here, found, &why);
        return;
    }
    match (path, subscript) {
        ("metadata.annotations", Some(key)) => {
            rules::messages(validate::qualified_name(&key.to_lowercase()), &key.to_lowercase(), at, errors)
        }
        (_, Some(key)) => rules::messages(validate::qualified_name(key), key, at, errors),
        _ if !fields.contains(&path) => errors.not_supported(&here, path, fields),
        _ => {}
    }
}

/// An amount of a container; in files it has to be said whose.
pub fn resource_field(reference: &Value, in_file: bool, at: &FieldPath, errors: &mut FieldErrors) {
    let resource = value::text(reference, &["resource"]);
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_file && value::text(reference, &["containerName"]).is_empty() {
        errors.required(&at.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        errors.not_supported(&at.child("resource"), resource, &RESOURCES);
    }
    let divisor = value::text(reference, &["divisor"]);
    if matches!(divisor, "" | "0") {
        return;
    }
    let (allowed, of) = match resource {
        "limits.cpu" | "requests.cpu" => ("1m and 1", "cpu"),
        "limits.memory" | "requests.memory" => (UNITS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (UNITS, "local ephemeral storage"),
        _ if huge => (UNITS, "hugepages"),
        _ => return,
    };
    let fits = if of == "cpu" { matches!(divisor, "1m" | "1") } else { UNITS.split(", ").any(|unit| unit == divisor) };
    if !fits {
        let why = format!("only divisor's values {allowed} are supported with the {of} resource");
        errors.invalid(&at.child("divisor"), resource, &why);
    }
}

/// Whole config maps and secrets.
pub fn from(all: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, entry) in all.iter().enumerate() {
        let here = at.index(i);
        let prefix = value::text(entry, &["prefix"]);
        if !prefix.is_empty() {
            rules::messages(validate::relaxed_env_var_name(prefix), prefix, &here.child("prefix"), errors);
        }
        let mut given = 0;
        for kind in ["configMapRef", "secretRef"].into_iter().filter(|kind| has(entry, kind)) {
            given += 1;
            let name = value::text(entry, &[kind, "name"]);
            if name.is_empty() {
                errors.required(&here.child(kind).child("name"), "");
            } else {
                rules::messages(validate::dns_subdomain(name, true), name, &here.child(kind).child("name"), errors);
            }
        }
        if given == 0 {
            errors.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`");
        } else if given > 1 {
            errors.invalid(at, "", "may not have more than one field specified at a time");
        }
    }
}

//! What containers may not be.

use super::security;
use super::{Context, env, mounts, probes, resources};
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::collections::HashSet;

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const PROBES: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
/// What an ephemeral container has in common with others.
const EPHEMERAL: [&str; 17] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

pub fn all(spec: &Value, pod: &Context<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let (containers, inits) = (value::items(spec, &["containers"]), value::items(spec, &["initContainers"]));
    let mut names: HashSet<&str> = HashSet::new();
    if containers.is_empty() {
        errors.required(&at.child("containers"), "");
    }
    for (i, container) in containers.iter().enumerate() {
        let here = at.child("containers").index(i);
        common(container, pod, &here, errors);
        unique(container, &mut names, &here, errors);
        probes::all(container, pod, &here, errors);
        restart_rules(container, &here, errors);
    }
    let mut taken = HashSet::new();
    for (i, container) in containers.iter().enumerate() {
        host_ports(container, &at.child("containers").index(i), &mut taken, errors);
    }
    for (i, container) in inits.iter().enumerate() {
        let here = at.child("initContainers").index(i);
        common(container, pod, &here, errors);
        restart_rules(container, &here, errors);
        unique(container, &mut names, &here, errors);
        host_ports(container, &here, &mut HashSet::new(), errors);
        let sidecar = value::text(container, &["restartPolicy"]) == "Always";
        if sidecar {
            probes::all(container, pod, &here, errors);
        } else {
            for name in PROBES.into_iter().filter(|name| has(container, name)) {
                errors.forbidden(&here.child(name), "may not be set for init containers without restartPolicy=Always");
            }
            for (j, policy) in value::items(container, &["resizePolicy"]).iter().enumerate() {
                if value::text(policy, &["restartPolicy"]) == "RestartContainer" {
                    let here = here.child("resizePolicy").index(j).child("restartPolicy");
                    errors.invalid(&here, "RestartContainer", "must not be set to 'RestartContainer' for non-sidecar initContainers");
                }
            }
        }
    }
    let others = names.clone();
    for (i, container) in value::items(spec, &["ephemeralContainers"]).iter().enumerate() {
        let here = at.child("ephemeralContainers").index(i);
        common(container, pod, &here, errors);
        if pod.is_pod {
            image_is_trimmed(container, &here, errors);
        }
        unique(container, &mut names, &here, errors);
        let target = value::text(container, &["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&here.child("targetContainerName"), target);
        }
        for (name, found) in container.as_object().into_iter().flatten() {
            let empty = found.is_null() || rules::same(found, &Value::Null);
            if !EPHEMERAL.contains(&name.as_str()) && !empty {
                errors.forbidden(&here.child(name), "cannot be set for an Ephemeral Container");
            }
        }
        for (j, mount) in value::items(container, &["volumeMounts"]).iter().enumerate() {
            for name in ["subPath", "subPathExpr"].into_iter().filter(|name| !value::text(mount, &[name]).is_empty()) {
                errors.forbidden(&here.child("volumeMounts").index(j).child(name), "cannot be set for an Ephemeral Container");
            }
        }
    }
}

fn unique<'a>(container: &'a Value, names: &mut HashSet<&'a str>, at: &FieldPath, errors: &mut FieldErrors) {
    let name = value::text(container, &["name"]);
    if !names.insert(name) {
        errors.duplicate(&at.child("name"), name);
    }
}

pub fn image_is_trimmed(container: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let image = value::text(container, &["image"]);
    if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
}

fn common(container: &Value, pod: &Context<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let name = value::text(container, &["name"]);
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        rules::dns_label(name, &at.child("name"), errors);
    }
    rules::required_texts(container, &["image"], at, errors);
    match value::text(container, &["terminationMessagePolicy"]) {
        "" => errors.required(&at.child("terminationMessagePolicy"), ""),
        "File" | "FallbackToLogsOnError" => {}
        other => errors.not_supported_in_order(&at.child("terminationMessagePolicy"), other, &["File", "FallbackToLogsOnError"]),
    }
    ports(container, &at.child("ports"), errors);
    env::variables(value::items(container, &["env"]), &at.child("env"), errors);
    env::from(value::items(container, &["envFrom"]), &at.child("envFrom"), errors);
    mounts::mounts(container, pod, at, errors);
    mounts::devices(container, pod, at, errors);
    pull_policy(value::text(container, &["imagePullPolicy"]), &at.child("imagePullPolicy"), errors);
    resources::container(get(container, "resources"), &pod.claims, &at.child("resources"), errors);
    resources::resize_policy(container, pod.restart, &at.child("resizePolicy"), errors);
    security::container(get(container, "securityContext"), pod.host_users, &at.child("securityContext"), errors);
}

pub fn pull_policy(found: &str, at: &FieldPath, errors: &mut FieldErrors) {
    rules::one_of(found, &PULL_POLICIES, at, errors);
}

fn ports(container: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let ports = value::items(container, &["ports"]);
    let mut names = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let here = at.index(i);
        let name = value::text(port, &["name"]);
        if !name.is_empty() {
            let wrong = validate::port_name(name);
            if wrong.is_empty() && !names.insert(name) {
                errors.duplicate(&here.child("name"), name);
            }
            rules::messages(wrong, name, &here.child("name"), errors);
        }
        for field in ["containerPort", "hostPort"] {
            match value::int(port, &[field]).unwrap_or(0) {
                0 if field == "containerPort" => errors.required(&here.child(field), ""),
                0 => {}
                number => {
                    for message in validate::port_number(number) {
                        errors.invalid(&here.child(field), number, &message);
                    }
                }
            }
        }
        rules::one_of(value::text(port, &["protocol"]), &PROTOCOLS, &here.child("protocol"), errors);
    }
}

fn host_ports(container: &Value, at: &FieldPath, taken: &mut HashSet<String>, errors: &mut FieldErrors) {
    for (i, port) in value::items(container, &["ports"]).iter().enumerate() {
        let host = value::int(port, &["hostPort"]).unwrap_or(0);
        let identity = format!("{}/{}/{host}", value::text(port, &["protocol"]), value::text(port, &["hostIP"]));
        if host != 0 && !taken.insert(identity.clone()) {
            errors.duplicate(&at.child("ports").index(i).child("hostPort"), identity);
        }
    }
}

/// On the node's own network a port is the same inside and outside.
pub fn host_network(spec: &Value, is_pod: bool, at: &FieldPath, errors: &mut FieldErrors) {
    if !value::flag(spec, &["hostNetwork"]) {
        return;
    }
    for (i, container) in value::items(spec, &["containers"]).iter().enumerate() {
        for (j, port) in value::items(container, &["ports"]).iter().enumerate() {
            let number = |name: &str| value::int(port, &[name]).unwrap_or(0);
            let host = number("hostPort");
            if (is_pod || host != 0) && host != number("containerPort") {
                let here = at.child("containers").index(i).child("ports").index(j).child("hostPort");
                errors.invalid(&here, host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// When a container restarts, where it differs from its pod.
fn restart_rules(container: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let policy = get(container, "restartPolicy");
    let all = value::items(container, &["restartPolicyRules"]);
    match policy.as_str() {
        None if !all.is_empty() => errors.required(&at.child("restartPolicy"), "must specify restartPolicy when restart rules are used"),
        None => {}
        Some(policy) if !["Always", "Never", "OnFailure"].contains(&policy) => {
            errors.not_supported(&at.child("restartPolicy"), policy, &["Always", "Never", "OnFailure"]);
        }
        Some(_) => {}
    }
    if all.len() > 20 {
        errors.too_many(&at.child("restartPolicyRules"), all.len(), 20);
    }
    for (i, rule) in all.iter().enumerate() {
        let here = at.child("restartPolicyRules").index(i);
        let action = value::text(rule, &["action"]);
        if !["Restart", "RestartAllContainers"].contains(&action) {
            errors.not_supported(&here.child("action"), action, &["Restart", "RestartAllContainers"]);
        }
        let codes = get(rule, "exitCodes");
        let here = here.child("exitCodes");
        if codes.is_null() {
            errors.required(&here, "must be specified");
            continue;
        }
        let operator = value::text(codes, &["operator"]);
        if !["In", "NotIn"].contains(&operator) {
            errors.not_supported(&here.child("operator"), operator, &["In", "NotIn"]);
        }
        let values = value::items(codes, &["values"]).len();
        if values > 255 {
            errors.too_many(&here.child("values"), values, 255);
        }
    }
}

//! What containers may not be.

use super::{probes, volumes};
use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::Value;
use std::collections::HashSet;

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub struct Pod<'a> {
    pub volumes: &'a [Value],
    pub host_network: bool,
}

pub fn all(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let pod = Pod { volumes: value::items(spec, &["volumes"]), host_network: value::flag(spec, &["hostNetwork"]) };
    let (containers, inits) = (value::items(spec, &["containers"]), value::items(spec, &["initContainers"]));
    if containers.is_empty() {
        errors.required(&at.child("containers"), "");
    }
    let mut names = HashSet::new();
    let mut host_ports = HashSet::new();
    for (i, container) in containers.iter().enumerate() {
        let here = at.child("containers").index(i);
        one(container, &pod, &here, &mut names, errors);
        ports(container, &pod, &here, Some(&mut host_ports), errors);
        probes::all(container, &here, errors);
        if !value::text(container, &["restartPolicy"]).is_empty() && value::items(container, &["restartPolicyRules"]).is_empty() {
            errors.forbidden(&here.child("restartPolicy"), "may not be set for non-init containers");
        }
    }
    for (i, container) in inits.iter().enumerate() {
        let here = at.child("initContainers").index(i);
        one(container, &pod, &here, &mut names, errors);
        let policy = value::text(container, &["restartPolicy"]);
        let sidecar = policy == "Always";
        if !policy.is_empty() && !sidecar {
            errors.not_supported(&here.child("restartPolicy"), policy, &["Always"]);
        }
        ports(container, &pod, &here, sidecar.then_some(&mut host_ports), errors);
        if sidecar {
            probes::all(container, &here, errors);
        } else {
            for name in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
                if !get(container, name).is_null() {
                    errors.forbidden(&here.child(name), "may not be set for init containers without restartPolicy=Always");
                }
            }
        }
    }
}

fn one(container: &Value, pod: &Pod<'_>, at: &FieldPath, names: &mut HashSet<String>, errors: &mut FieldErrors) {
    let name = value::text(container, &["name"]);
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        rules::messages(validate::dns_label(name, false), name, &at.child("name"), errors);
        if !names.insert(name.to_string()) {
            errors.duplicate(&at.child("name"), name);
        }
    }
    let image = value::text(container, &["image"]);
    if image.is_empty() {
        errors.required(&at.child("image"), "");
    } else if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
    rules::one_of(value::text(container, &["imagePullPolicy"]), &PULL_POLICIES, &at.child("imagePullPolicy"), errors);
    rules::one_of(
        value::text(container, &["terminationMessagePolicy"]),
        &["FallbackToLogsOnError", "File"],
        &at.child("terminationMessagePolicy"),
        errors,
    );
    environment(container, at, errors);
    volumes::mounts(container, pod.volumes, at, errors);
    resources(get(container, "resources"), &at.child("resources"), errors);
    security(get(container, "securityContext"), &at.child("securityContext"), errors);
}

fn ports(container: &Value, pod: &Pod<'_>, at: &FieldPath, mut taken: Option<&mut HashSet<String>>, errors: &mut FieldErrors) {
    let ports = value::items(container, &["ports"]);
    for (i, port) in ports.iter().enumerate() {
        let here = at.child("ports").index(i);
        let name = value::text(port, &["name"]);
        if !name.is_empty() {
            rules::messages(validate::port_name(name), name, &here.child("name"), errors);
            if ports[..i].iter().any(|p| value::text(p, &["name"]) == name) {
                errors.duplicate(&here.child("name"), name);
            }
        }
        match value::int(port, &["containerPort"]).unwrap_or(0) {
            0 => errors.required(&here.child("containerPort"), ""),
            number => {
                for message in validate::port_number(number) {
                    errors.invalid(&here.child("containerPort"), number, &message);
                }
            }
        }
        let host = value::int(port, &["hostPort"]).unwrap_or(0);
        if host != 0 {
            for message in validate::port_number(host) {
                errors.invalid(&here.child("hostPort"), host, &message);
            }
            if pod.host_network && Some(host) != value::int(port, &["containerPort"]) {
                errors.invalid(
                    &here.child("containerPort"),
                    get(port, "containerPort").clone(),
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
            let identity = format!("{}/{}/{host}", value::text(port, &["protocol"]), value::text(port, &["hostIP"]));
            if let Some(taken) = taken.as_mut()
                && !taken.insert(identity.clone())
            {
                errors.duplicate(&here.child("hostPort"), identity);
            }
        }
        let protocol = value::text(port, &["protocol"]);
        if protocol.is_empty() {
            errors.required(&here.child("protocol"), "");
        }
        rules::one_of(protocol, &PROTOCOLS, &here.child("protocol"), errors);
    }
}

fn environment(container: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (i, env) in value::items(container, &["env"]).iter().enumerate() {
        let here = at.child("env").index(i);
        let name = value::text(env, &["name"]);
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else {
            rules::messages(validate::relaxed_env_var_name(name), name, &here.child("name"), errors);
        }
        let from = get(env, "valueFrom");
        if from.is_null() {
            continue;
        }
        let given = from.as_object().map_or(0, |m| m.values().filter(|v| !v.is_null()).count());
        let here = here.child("valueFrom");
        if given == 0 {
            errors.invalid(
                &here,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            );
        } else if given > 1 {
            errors.invalid(&here, "", "may not have more than one field specified at a time");
        }
        if !value::text(env, &["value"]).is_empty() {
            errors.invalid(&here, "", "may not be specified when `value` is not empty");
        }
        for name in ["configMapKeyRef", "secretKeyRef"] {
            let reference = get(from, name);
            if reference.is_null() {
                continue;
            }
            let key = value::text(reference, &["key"]);
            if key.is_empty() {
                errors.required(&here.child(name).child("key"), "");
            } else {
                rules::messages(validate::config_map_key(key), key, &here.child(name).child("key"), errors);
            }
        }
    }
}

pub fn resources(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let amount = |kind: &str, name: &str| value::at(found, &[kind, name]).and_then(|q| Quantity::from_value(q).ok());
    for kind in ["limits", "requests"] {
        for (name, text) in get(found, kind).as_object().into_iter().flatten() {
            let here = at.child(kind).key(name);
            rules::messages(validate::qualified_name(name), name, &here, errors);
            if !name.contains('/') && !matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
                errors.invalid(&here, name.as_str(), "must be a standard resource for containers");
            }
            if amount(kind, name).is_some_and(|q| q.signum() < 0) {
                errors.invalid(&here, text.clone(), rules::NOT_NEGATIVE);
            }
        }
    }
    for (name, request) in get(found, "requests").as_object().into_iter().flatten() {
        if let (Some(asked), Some(mut limit)) = (amount("requests", name), amount("limits", name)) {
            let text = value::text(found, &["limits", name]).to_string();
            limit.sub(&asked);
            if limit.signum() < 0 {
                errors.invalid(&at.child("requests"), request.clone(), &format!("must be less than or equal to {name} limit of {text}"));
            } else if !limit.is_zero() && (name.contains('/') || name.starts_with("hugepages-")) {
                errors.invalid(&at.child("requests"), request.clone(), &format!("must be equal to {name} limit of {text}"));
            }
        }
    }
}

fn security(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    rules::not_negative(found, &["runAsUser", "runAsGroup"], at, errors);
    let privileged = value::flag(found, &["privileged"]);
    let adds_admin = value::items(found, &["capabilities", "add"]).iter().any(|c| c == "CAP_SYS_ADMIN");
    if get(found, "allowPrivilegeEscalation") == &Value::Bool(false) {
        if privileged {
            errors.invalid(at, found.clone(), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if adds_admin {
            errors.invalid(at, found.clone(), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
}

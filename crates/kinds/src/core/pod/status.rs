//! What a node, and whoever places pods, may say of a pod.

use super::super::pod_template::annotations;
use crate::rules::{self, get, path};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Of the container lists, each with where the spec has its containers.
const STATUSES: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

pub fn prepare(new: &mut Value, old: &Value) {
    let mut status = new.get("status").cloned().unwrap_or_else(|| json!({}));
    let managed = value::at(new, &["metadata", "managedFields"]).cloned();
    if value::text(&status, &["qosClass"]).is_empty() {
        value::carry(&mut status, get(old, "status"), &["qosClass"]);
    }
    if value::int(&status, &["observedGeneration"]).unwrap_or(0) == 0 {
        value::carry(&mut status, get(old, "status"), &["observedGeneration"]);
    }
    let mut before = value::items(old, &["status", "conditions"]).to_vec();
    for condition in value::items_mut(&mut status, &["conditions"]) {
        let same = before.iter().position(|c| get(c, "type") == get(condition, "type"));
        let previous = same.map(|at| before.remove(at)).unwrap_or_default();
        if value::int(condition, &["observedGeneration"]).unwrap_or(0) == 0 {
            value::carry(condition, &previous, &["observedGeneration"]);
        }
    }
    *new = old.clone();
    value::set(new, &["status"], status);
    if let Some(managed) = managed {
        value::set(new, &["metadata", "managedFields"], managed);
    }
}

pub fn validate(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let e = &mut errors;
    let at = path("status");
    let (status, before, spec) = (get(new, "status"), get(old, "status"), get(old, "spec"));
    annotations::unchanged(new, old, &path("metadata.annotations"), e);
    for (i, condition) in value::items(status, &["conditions"]).iter().enumerate() {
        let (here, ty) = (at.child("conditions").index(i), value::text(condition, &["type"]));
        generation(condition, &here, e);
        if !matches!(ty, "PodScheduled" | "Ready" | "Initialized") {
            rules::messages(validate::qualified_name(ty), ty, &here.child("Type"), e);
        }
    }
    let nominated = value::text(status, &["nominatedNodeName"]);
    if !nominated.is_empty() && nominated != value::text(before, &["nominatedNodeName"]) {
        rules::dns_subdomain(nominated, &at.child("nominatedNodeName"), e);
        if !value::text(spec, &["nodeName"]).is_empty() {
            e.forbidden(&at.child("nominatedNodeName"), "may not be set on pods that are already bound to a node");
        }
    }
    generation(status, &at, e);
    let (class, was) = (get(status, "qosClass"), get(before, "qosClass"));
    if class.as_str() != Some("") || !was.is_null() {
        rules::immutable(class, was, &at.child("qosClass"), e);
    }
    for (name, list) in STATUSES {
        transitions(status, before, spec, (name, list), &at.child(name), e);
        allocated(value::items(status, &[name]), value::items(spec, &[list]), list, &at.child(name), e);
    }
    claims(value::items(status, &["resourceClaimStatuses"]), spec, &at.child("resourceClaimStatuses"), e);
    addresses(status, before, "podIPs", &at, e);
    if let Some(first) = value::items(status, &["hostIPs"]).first() {
        let ip = value::text(first, &["ip"]);
        if ip != value::text(status, &["hostIP"]) {
            e.invalid(&at.child("hostIPs").index(0).child("ip"), ip, "must be equal to `hostIP`");
        }
    }
    addresses(status, before, "hostIPs", &at, e);
    errors
}

fn generation(of: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(number) = value::int(of, &["observedGeneration"]).filter(|g| *g < 0) {
        errors.invalid(&at.child("observedGeneration"), number, "must be a non-negative integer");
    }
}

/// Whether a container that has ended with this code may run again.
fn may_restart(container: &Value, spec: &Value, code: i64) -> bool {
    for rule in value::items(container, &["restartPolicyRules"]) {
        let listed = value::items(rule, &["exitCodes", "values"]).iter().any(|v| v.as_i64() == Some(code));
        let matched = if value::text(rule, &["exitCodes", "operator"]) == "NotIn" { !listed } else { listed };
        if matched && matches!(value::text(rule, &["action"]), "Restart" | "RestartAllContainers") {
            return true;
        }
    }
    let own = value::text(container, &["restartPolicy"]);
    match if own.is_empty() { value::text(spec, &["restartPolicy"]) } else { own } {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn restarts_all(spec: &Value) -> bool {
    let mut found = false;
    super::super::pod_template::visit(spec, &FieldPath::root(), |container, _| {
        found |= value::items(container, &["restartPolicyRules"]).iter().any(|r| value::text(r, &["action"]) == "RestartAllContainers");
    });
    found
}

/// What has ended and is not started again cannot run.
fn transitions(new: &Value, old: &Value, spec: &Value, (name, list): (&str, &str), at: &FieldPath, errors: &mut FieldErrors) {
    let ephemeral = list == "ephemeralContainers";
    if !ephemeral && restarts_all(spec) {
        return;
    }
    for (i, before) in value::items(old, &[name]).iter().enumerate() {
        let Some(ended) = value::at(before, &["state", "terminated"]).filter(|t| !t.is_null()) else { continue };
        let same = |c: &&Value| get(c, "name") == get(before, "name");
        let runs = value::items(new, &[name]).iter().find(same).is_some_and(|now| value::at(now, &["state", "terminated"]).is_none());
        let container = value::items(spec, &[list]).iter().find(same);
        let code = value::int(ended, &["exitCode"]).unwrap_or(0);
        let allowed = !ephemeral && container.is_some_and(|c| may_restart(c, spec, code));
        if runs && !allowed {
            errors.forbidden(&at.index(i).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

fn allocated(statuses: &[Value], containers: &[Value], list: &str, at: &FieldPath, errors: &mut FieldErrors) {
    for (i, status) in statuses.iter().enumerate() {
        let here = at.index(i).child("allocatedResourcesStatus");
        let all = value::items(status, &["allocatedResourcesStatus"]);
        if list == "ephemeralContainers" {
            if !all.is_empty() {
                errors.forbidden(&here, "must not be specified in container status");
            }
            continue;
        }
        let container = containers.iter().find(|c| get(c, "name") == get(status, "name"));
        for (j, resource) in all.iter().enumerate() {
            let name = value::text(resource, &["name"]);
            if let Some(container) = container {
                let (known, why) = if name.starts_with("claim:") {
                    let claimed = value::items(container, &["resources", "claims"]).iter().map(|c| match value::text(c, &["request"]) {
                        "" => format!("claim:{}", value::text(c, &["name"])),
                        request => format!("claim:{}/{request}", value::text(c, &["name"])),
                    });
                    let why = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
                    (claimed.into_iter().any(|c| c == name), why)
                } else {
                    (
                        value::at(container, &["resources", "requests", name]).is_some(),
                        "must match one of the container's resource requests",
                    )
                };
                if !known {
                    errors.invalid(&here.index(j).child("name"), name, why);
                }
            }
            let mut seen = HashSet::new();
            for (k, health) in value::items(resource, &["resources"]).iter().enumerate() {
                let here = here.index(j).child("resources").index(k);
                let found = value::text(health, &["health"]);
                if !["Healthy", "Unhealthy", "Unknown"].contains(&found) {
                    errors.not_supported(&here.child("health"), found, &["Healthy", "Unhealthy", "Unknown"]);
                }
                let id = value::text(health, &["resourceID"]);
                if !seen.insert(id) {
                    errors.duplicate(&here.child("resourceID"), id);
                }
            }
        }
    }
}

fn claims(statuses: &[Value], spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for (i, status) in statuses.iter().enumerate() {
        let (here, name) = (at.index(i), value::text(status, &["name"]));
        if !value::items(spec, &["resourceClaims"]).iter().any(|c| value::text(c, &["name"]) == name) {
            errors.invalid(&here.child("name"), name, "must match the name of an entry in `spec.resourceClaims`");
        }
        if !seen.insert(name) {
            errors.duplicate(&here.child("name"), name);
        }
        if let Some(claim) = get(status, "resourceClaimName").as_str() {
            rules::dns_subdomain(claim, &here.child("resourceClaimName"), errors);
        }
    }
}

fn addresses(status: &Value, before: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let ips = |of: &Value| value::items(of, &[name]).iter().map(|i| value::text(i, &["ip"]).to_string()).collect::<Vec<_>>();
    let (now, known, here) = (ips(status), ips(before), at.child(name));
    for (i, ip) in now.iter().enumerate().filter(|(_, ip)| !known.contains(ip)) {
        rules::messages(validate::legacy_ip(ip), ip, &here.index(i), errors);
    }
    let sixth = now.iter().filter(|ip| ip.contains(':')).count();
    if now.len() > 1 && (now.len() > 2 || sixth != 1) {
        errors.invalid(&here, get(status, name).clone(), "may specify no more than one IP for each IP family");
    }
}

//! What a pod spec may not be.

use super::{Context, containers, resources, scheduling, security, volumes, windows};
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::collections::HashSet;

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const MIRROR: &str = "kubernetes.io/config.mirror";

/// `metadata` is that of a pod, and none for a template.
pub fn validate_spec(spec: &Value, metadata: Option<&Value>, at: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let e = &mut errors;
    let pod_name = metadata.map_or("", |m| value::text(m, &["name"]));
    if !has(spec, "terminationGracePeriodSeconds") {
        e.required(&at.child("terminationGracePeriodSeconds"), "");
    }
    let claims = value::items(spec, &["resourceClaims"]);
    let context = Context {
        volumes: volumes::all(spec, pod_name, metadata.is_some(), &at.child("volumes"), e),
        claims: claims.iter().map(|c| value::text(c, &["name"])).filter(|name| !name.is_empty()).collect(),
        grace: value::int(spec, &["terminationGracePeriodSeconds"]),
        host_users: get(spec, "hostUsers") != &Value::Bool(false),
        restart: value::text(spec, &["restartPolicy"]),
        os: value::text(spec, &["os", "name"]),
        is_pod: metadata.is_some(),
    };
    resource_claims(claims, metadata, &at.child("resourceClaims"), e);
    containers::all(spec, &context, at, e);
    resources::pod(spec, &context.claims, at, e);
    containers::host_network(spec, context.is_pod, at, e);
    one_of_in_order(context.restart, &RESTART_POLICIES, &at.child("restartPolicy"), e);
    one_of_in_order(value::text(spec, &["dnsPolicy"]), &DNS_POLICIES, &at.child("dnsPolicy"), e);
    e.extend(validate::labels(get(spec, "nodeSelector"), &at.child("nodeSelector")));
    security::pod(spec, at, e);
    scheduling::affinity(get(spec, "affinity"), &at.child("affinity"), e);
    dns_config(spec, &at.child("dnsConfig"), e);
    for (i, gate) in value::items(spec, &["readinessGates"]).iter().enumerate() {
        let name = value::text(gate, &["conditionType"]);
        rules::messages(validate::qualified_name(name), name, &at.child("readinessGates").index(i).child("conditionType"), e);
    }
    scheduling_gates(value::items(spec, &["schedulingGates"]), &at.child("schedulingGates"), e);
    scheduling::spread(value::items(spec, &["topologySpreadConstraints"]), &at.child("topologySpreadConstraints"), e);
    windows::host_process(spec, at, e);
    security::own_users(spec, at, e);
    names(spec, at, e);
    scheduling::tolerations(value::items(spec, &["tolerations"]), &at.child("tolerations"), e);
    for (i, alias) in value::items(spec, &["hostAliases"]).iter().enumerate() {
        let (ip, here) = (value::text(alias, &["ip"]), at.child("hostAliases").index(i));
        rules::messages(validate::legacy_ip(ip), ip, &here.child("ip"), e);
        for (j, name) in value::items(alias, &["hostnames"]).iter().filter_map(Value::as_str).enumerate() {
            rules::dns_subdomain(name, &here.child("hostnames").index(j), e);
        }
    }
    classes(spec, at, e);
    let overhead = serde_json::json!({"limits": get(spec, "overhead")});
    resources::container(&overhead, &Default::default(), &at.child("overhead"), e);
    security::operating_system(spec, at, e);
    resources::file_volumes(spec, at, e);
    errors
}

fn one_of_in_order(found: &str, allowed: &[&str], at: &FieldPath, errors: &mut FieldErrors) {
    if found.is_empty() {
        errors.required(at, "");
    } else if !allowed.contains(&found) {
        errors.not_supported_in_order(at, found, allowed);
    }
}

fn names(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(name) = get(spec, "hostnameOverride").as_str() {
        let here = at.child("hostnameOverride");
        if value::flag(spec, &["setHostnameAsFQDN"]) {
            errors.forbidden(&here, "may not be specified when setHostnameAsFQDN is true");
        }
        if value::flag(spec, &["hostNetwork"]) {
            errors.forbidden(&here, "may not be specified when hostNetwork is true");
        }
        if name.len() > 64 {
            errors.too_long(&here, 64);
        }
        rules::dns_subdomain(name, &here, errors);
    }
    let given = |name: &str| Some(value::text(spec, &[name])).filter(|found| !found.is_empty());
    for name in ["serviceAccountName", "nodeName"] {
        if let Some(found) = given(name) {
            rules::dns_subdomain(found, &at.child(name), errors);
        }
    }
    rules::within(spec, "activeDeadlineSeconds", 1, i32::MAX.into(), at, errors);
    for name in ["hostname", "subdomain"] {
        if let Some(found) = given(name) {
            rules::dns_label(found, &at.child(name), errors);
        }
    }
}

fn classes(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let priority = value::text(spec, &["priorityClassName"]);
    if !priority.is_empty() {
        rules::dns_subdomain(priority, &at.child("priorityClassName"), errors);
    }
    if let Some(name) = get(spec, "runtimeClassName").as_str() {
        rules::dns_subdomain(name, &at.child("runtimeClassName"), errors);
    }
    if let Some(policy) = get(spec, "preemptionPolicy").as_str() {
        one_of_in_order(policy, &["PreemptLowerPriority", "Never"], &at.child("preemptionPolicy"), errors);
    }
}

fn scheduling_gates(gates: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for (i, gate) in gates.iter().enumerate() {
        let name = value::text(gate, &["name"]);
        rules::messages(validate::qualified_name(name), name, &at.index(i), errors);
        if !seen.insert(name) {
            errors.duplicate(&at.index(i), name);
        }
    }
}

fn dns_config(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let config = get(spec, "dnsConfig");
    let servers = value::items(config, &["nameservers"]);
    if value::text(spec, &["dnsPolicy"]) == "None" {
        if config.is_null() {
            return errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.is_empty() {
            return errors.required(&at.child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.len() > 3 {
        errors.invalid(&at.child("nameservers"), servers.to_vec(), "must not have more than 3 nameservers");
    }
    for (i, ip) in servers.iter().filter_map(Value::as_str).enumerate() {
        rules::messages(validate::legacy_ip(ip), ip, &at.child("nameservers").index(i), errors);
    }
    let searches: Vec<&str> = value::items(config, &["searches"]).iter().filter_map(Value::as_str).collect();
    let here = at.child("searches");
    if searches.len() > 32 {
        errors.invalid(&here, searches.clone(), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        errors.invalid(&here, searches.clone(), "must not have more than 2048 characters (including spaces) in the search list");
    }
    for (i, search) in searches.into_iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        rules::messages(validate::dns_subdomain_with_underscore(search), search, &here.index(i), errors);
    }
    for (i, option) in value::items(config, &["options"]).iter().enumerate() {
        if value::text(option, &["name"]).is_empty() {
            errors.required(&at.child("options").index(i), "must not be empty");
        }
    }
}

fn resource_claims(claims: &[Value], metadata: Option<&Value>, at: &FieldPath, errors: &mut FieldErrors) {
    let mirror = metadata.is_some_and(|m| value::at(m, &["annotations", MIRROR]).is_some());
    let mut seen = HashSet::new();
    for (i, claim) in claims.iter().enumerate() {
        if mirror {
            errors.forbidden(&FieldPath::root(), "static pods do not support resource claims");
            continue;
        }
        let (here, name) = (at.index(i), value::text(claim, &["name"]));
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else if seen.contains(name) {
            errors.duplicate(&here.child("name"), name);
        } else {
            rules::dns_label(name, &here.child("name"), errors);
            seen.insert(name);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|name| has(claim, name)).count() {
            0 => errors.invalid(&here, claim.clone(), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            2 => {
                let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&here, claim.clone(), why);
            }
            _ => {}
        }
        for name in sources {
            if let Some(found) = get(claim, name).as_str() {
                rules::dns_subdomain(found, &here.child(name), errors);
            }
        }
    }
}

//! What a Service may not be.

use super::addresses;
use crate::rules::{self, get, has, path};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Value, json};
use std::collections::HashSet;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];

pub fn is_headless(spec: &Value) -> bool {
    matches!(value::items(spec, &["clusterIPs"]), [only] if only == "None")
        || (!has(spec, "clusterIPs") && get(spec, "clusterIP") == "None")
}

fn is_external(spec: &Value) -> bool {
    let ty = value::text(spec, &["type"]);
    matches!(ty, "LoadBalancer" | "NodePort") || (ty == "ClusterIP" && !value::items(spec, &["externalIPs"]).is_empty())
}

fn needs_health_check(spec: &Value) -> bool {
    value::text(spec, &["type"]) == "LoadBalancer" && value::text(spec, &["externalTrafficPolicy"]) == "Local"
}

pub fn service(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let e = &mut errors;
    let (spec, at) = (get(object, "spec"), path("spec"));
    let annotation = |key: &str| value::at(object, &["metadata", "annotations", key]).and_then(Value::as_str);
    if let (Some(hints), Some(mode)) = (annotation(HINTS), annotation(MODE))
        && hints != mode
    {
        e.invalid(&path("metadata.annotations").key(MODE), mode, &format!("must match annotations[{HINTS}] when both are specified"));
    }
    let (ty, ports) = (value::text(spec, &["type"]), value::items(spec, &["ports"]));
    if ports.is_empty() && !is_headless(spec) && ty != "ExternalName" {
        e.required(&at.child("ports"), "");
    }
    of_type(spec, ty, &at, e);
    port_list(ports, e);
    if has(spec, "selector") {
        e.extend(validate::labels(get(spec, "selector"), &at.child("selector")));
    }
    affinity(spec, &at, e);
    e.extend(addresses::validate(spec));
    for (i, ip) in value::items(spec, &["externalIPs"]).iter().filter_map(Value::as_str).enumerate() {
        let here = at.child("externalIPs").index(i);
        let wrong = validate::legacy_ip(ip);
        if wrong.is_empty() {
            rules::endpoint_ip(ip, &here, e);
        }
        rules::messages(wrong, ip, &here, e);
    }
    rules::one_of(ty, &TYPES, &at.child("type"), e);
    node_ports(ports, ty, e);
    source_ranges(spec, ty, annotation(RANGES), e);
    let balanced = ty == "LoadBalancer";
    match get(spec, "allocateLoadBalancerNodePorts") {
        Value::Null if balanced => e.required(&path("allocateLoadBalancerNodePorts"), ""),
        Value::Null => {}
        _ if !balanced => e.forbidden(&at.child("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'"),
        _ => {}
    }
    if let Some(class) = get(spec, "loadBalancerClass").as_str() {
        let here = at.child("loadBalancerClass");
        if balanced {
            rules::messages(validate::qualified_name(class), class, &here, e);
        } else {
            e.forbidden(&here, "may only be used when `type` is 'LoadBalancer'");
        }
    }
    traffic(spec, ty, &at, e);
    errors
}

fn of_type(spec: &Value, ty: &str, at: &FieldPath, errors: &mut FieldErrors) {
    match ty {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            errors.invalid(&at.child("clusterIPs").index(0), "None", &format!("may not be set to 'None' for {ty} services"));
        }
        "ExternalName" => {
            for name in ["clusterIPs", "ipFamilies"].into_iter().filter(|name| !value::items(spec, &[name]).is_empty()) {
                errors.forbidden(&at.child(name), "may not be set for ExternalName services");
            }
            if has(spec, "ipFamilyPolicy") {
                errors.forbidden(&at.child("ipFamilyPolicy"), "may not be set for ExternalName services");
            }
            let name = value::text(spec, &["externalName"]);
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.required(&at.child("externalName"), ""),
                bare => rules::dns_subdomain(bare, &at.child("externalName"), errors),
            }
        }
        _ => {}
    }
}

fn affinity(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (found, config) = (value::text(spec, &["sessionAffinity"]), get(spec, "sessionAffinityConfig"));
    rules::one_of(found, &["ClientIP", "None"], &at.child("sessionAffinity"), errors);
    let here = at.child("sessionAffinityConfig");
    let missing = "when session affinity type is ClientIP";
    match found {
        "ClientIP" => match value::int(config, &["clientIP", "timeoutSeconds"]) {
            _ if config.is_null() => errors.required(&here, missing),
            None if !has(config, "clientIP") => errors.required(&here.child("clientIP"), missing),
            None => errors.required(&here.child("clientIP").child("timeoutSeconds"), missing),
            Some(seconds) if !(1..=86400).contains(&seconds) => {
                let here = here.child("clientIP").child("timeoutSeconds");
                errors.invalid(&here, seconds, "must be greater than 0 and less than 86400");
            }
            Some(_) => {}
        },
        "None" if !config.is_null() => errors.forbidden(&here, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn port_list(ports: &[Value], errors: &mut FieldErrors) {
    let mut names = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let here = path("spec.ports").index(i);
        let name = value::text(port, &["name"]);
        if name.is_empty() && ports.len() > 1 {
            errors.required(&here.child("name"), "");
        } else if !name.is_empty() {
            rules::dns_label(name, &here.child("name"), errors);
            if !names.insert(name) {
                errors.duplicate(&here.child("name"), name);
            }
        }
        let number = value::int(port, &["port"]).unwrap_or(0);
        for message in validate::port_number(number) {
            errors.invalid(&here.child("port"), number, &message);
        }
        rules::one_of(value::text(port, &["protocol"]), &PROTOCOLS, &here.child("protocol"), errors);
        rules::port(get(port, "targetPort"), &here.child("targetPort"), errors);
        if let Some(protocol) = get(port, "appProtocol").as_str() {
            rules::messages(validate::qualified_name(protocol), protocol, &here.child("appProtocol"), errors);
        }
    }
}

fn node_ports(ports: &[Value], ty: &str, errors: &mut FieldErrors) {
    let at = path("spec.ports");
    let node_port = |port: &Value| value::int(port, &["nodePort"]).unwrap_or(0);
    if ty == "ClusterIP" {
        for (i, _) in ports.iter().enumerate().filter(|(_, p)| node_port(p) != 0) {
            errors.forbidden(&at.index(i).child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut taken = HashSet::new();
    for (i, port) in ports.iter().enumerate().filter(|(_, p)| node_port(p) != 0) {
        if !taken.insert((value::text(port, &["protocol"]), node_port(port))) {
            errors.duplicate(&at.index(i).child("nodePort"), node_port(port));
        }
    }
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let (protocol, number) = (value::text(port, &["protocol"]), value::int(port, &["port"]).unwrap_or(0));
        if !seen.insert((protocol, number)) {
            errors.duplicate(&at.index(i), json!({"protocol": protocol, "port": number, "targetPort": 0}));
        }
    }
}

fn source_ranges(spec: &Value, ty: &str, annotation: Option<&str>, errors: &mut FieldErrors) {
    let ranges = value::items(spec, &["loadBalancerSourceRanges"]);
    let only = "may only be used when `type` is 'LoadBalancer'";
    if !ranges.is_empty() {
        let at = path("spec.LoadBalancerSourceRanges");
        if ty != "LoadBalancer" {
            errors.forbidden(&at, only);
        }
        for (i, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
            rules::messages(validate::legacy_cidr(range.trim()), range.trim(), &at.index(i), errors);
        }
    } else if let Some(text) = annotation {
        let at = path("metadata.annotations").key(RANGES);
        if ty != "LoadBalancer" {
            return errors.forbidden(&at, only);
        }
        for range in text.trim().split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            rules::messages(validate::legacy_cidr(range), range, &at, errors);
        }
    }
}

fn traffic(spec: &Value, ty: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let (policy, here) = (value::text(spec, &["externalTrafficPolicy"]), at.child("externalTrafficPolicy"));
    if is_external(spec) {
        rules::one_of(policy, &["Cluster", "Local"], &here, errors);
    } else if !policy.is_empty() {
        errors.invalid(&here, policy, "may only be set for externally-accessible services");
    }
    let (check, here) = (value::int(spec, &["healthCheckNodePort"]).unwrap_or(0), at.child("healthCheckNodePort"));
    if needs_health_check(spec) {
        // It is given out after this has been looked at.
        for message in validate::port_number(check).into_iter().filter(|_| check != 0) {
            errors.invalid(&here, check, &message);
        }
    } else if check != 0 {
        errors.invalid(&here, check, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    }
    if !has(spec, "internalTrafficPolicy") && matches!(ty, "NodePort" | "LoadBalancer" | "ClusterIP") {
        errors.required(&at.child("internalTrafficPolicy"), "");
    }
    rules::known(spec, "internalTrafficPolicy", &["Cluster", "Local"], at, errors);
    if let Some(found) = get(spec, "trafficDistribution").as_str().filter(|found| !DISTRIBUTIONS.contains(found)) {
        errors.not_supported_in_order(&at.child("trafficDistribution"), found, &DISTRIBUTIONS);
    }
}

pub fn update(new: &Value, old: &Value) -> FieldErrors {
    let (after, before) = (get(new, "spec"), get(old, "spec"));
    let mut errors = addresses::update(after, before);
    let balanced = |spec: &Value| value::text(spec, &["type"]) == "LoadBalancer";
    if balanced(after) && balanced(before) && get(after, "loadBalancerClass") != get(before, "loadBalancerClass") {
        errors.invalid(&path("spec.loadBalancerClass"), get(after, "loadBalancerClass").clone(), "may not change once set");
    }
    let check = |spec: &Value| value::int(spec, &["healthCheckNodePort"]).unwrap_or(0);
    if needs_health_check(after) && needs_health_check(before) && check(after) != check(before) {
        errors.forbidden(&path("spec.healthCheckNodePort"), "field is immutable");
    }
    errors
}

pub fn status(new: &Value) -> FieldErrors {
    let ingress = value::items(new, &["status", "loadBalancer", "ingress"]);
    let at = path("status.loadBalancer.ingress");
    let mut errors = FieldErrors::new();
    if value::text(new, &["spec", "type"]) != "LoadBalancer" && !ingress.is_empty() {
        errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
        return errors;
    }
    load_balancer(ingress, true, &at, &mut errors);
    errors
}

/// Where a load balancer is, for services and ingresses.
pub fn load_balancer(ingress: &[Value], with_mode: bool, at: &FieldPath, errors: &mut FieldErrors) {
    for (i, entry) in ingress.iter().enumerate() {
        let (here, ip, name) = (at.index(i), value::text(entry, &["ip"]), value::text(entry, &["hostname"]));
        if !ip.is_empty() {
            rules::messages(validate::legacy_ip(ip), ip, &here.child("ip"), errors);
        }
        if with_mode {
            match get(entry, "ipMode").as_str() {
                None if !ip.is_empty() => errors.required(&here.child("ipMode"), "must be specified when `ip` is set"),
                Some(_) if ip.is_empty() => errors.forbidden(&here.child("ipMode"), "may not be specified when `ip` is not set"),
                Some(mode) if !["Proxy", "VIP"].contains(&mode) => errors.not_supported(&here.child("ipMode"), mode, &["Proxy", "VIP"]),
                _ => {}
            }
        }
        if !name.is_empty() {
            rules::dns_subdomain(name, &here.child("hostname"), errors);
            if validate::sloppy_ip(name).is_some() {
                errors.invalid(&here.child("hostname"), name, "must be a DNS name, not an IP address");
            }
        }
    }
}

pub fn warnings(object: &Value) -> Vec<String> {
    let (spec, at) = (get(object, "spec"), path("spec"));
    let texts = |name: &str| value::items(spec, &[name]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let (ty, external) = (value::text(spec, &["type"]), texts("externalIPs"));
    let mut out = Vec::new();
    if value::at(object, &["metadata", "annotations", HINTS]).is_some() {
        out.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    if is_headless(spec) {
        if !value::text(spec, &["loadBalancerIP"]).is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if !external.is_empty() {
            out.push("spec.externalIPs is ignored for headless services".into());
        }
        if value::text(spec, &["sessionAffinity"]) != "None" {
            out.push("spec.SessionAffinity is ignored for headless services".into());
        }
    } else {
        for (i, ip) in texts("clusterIPs").into_iter().enumerate() {
            out.extend(rules::ip_warnings(ip, &at.child("clusterIPs").index(i)));
        }
    }
    for (i, ip) in external.iter().enumerate() {
        out.extend(rules::ip_warnings(ip, &at.child("externalIPs").index(i)));
    }
    if !external.is_empty() && !is_headless(spec) && ty != "ExternalName" {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    out.extend(rules::ip_warnings(value::text(spec, &["loadBalancerIP"]), &at.child("loadBalancerIP")));
    if ty == "ExternalName" && !external.is_empty() {
        out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if ty != "ExternalName" && !value::text(spec, &["externalName"]).is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if value::text(spec, &["trafficDistribution"]) == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    out
}

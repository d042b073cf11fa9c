//! What a Service may not be.

use crate::rules::{self, get, path};
use meta::{FieldErrors, validate, value};
use serde_json::Value;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub fn service(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (spec, at) = (get(object, "spec"), path("spec"));
    let ty = value::text(spec, &["type"]);
    rules::one_of(ty, &TYPES, &at.child("type"), &mut errors);
    let ports = value::items(spec, &["ports"]);
    let headless = value::text(spec, &["clusterIP"]) == "None";
    if ports.is_empty() && !headless && ty != "ExternalName" {
        errors.required(&at.child("ports"), "");
    }
    match ty {
        "LoadBalancer" | "NodePort" if headless => {
            errors.invalid(&at.child("clusterIPs").index(0), "None", &format!("may not be set to 'None' for {ty} services"));
        }
        "ExternalName" => {
            if !value::text(spec, &["clusterIP"]).is_empty() {
                errors.forbidden(&at.child("clusterIPs"), "may not be set for ExternalName services");
            }
            let name = value::text(spec, &["externalName"]);
            if name.is_empty() {
                errors.required(&at.child("externalName"), "");
            } else {
                let bare = name.strip_suffix('.').unwrap_or(name);
                rules::messages(validate::dns_subdomain(bare, false), name, &at.child("externalName"), &mut errors);
            }
        }
        _ => {}
    }
    port_list(ports, ty, &mut errors);
    for (key, text) in get(spec, "selector").as_object().into_iter().flatten() {
        let at = at.child("selector");
        rules::messages(validate::qualified_name(key), key, &at, &mut errors);
        let text = text.as_str().unwrap_or("");
        rules::messages(validate::label_value(text), text, &at, &mut errors);
    }
    rules::one_of(value::text(spec, &["sessionAffinity"]), &["ClientIP", "None"], &at.child("sessionAffinity"), &mut errors);
    if let Some(seconds) = value::int(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).filter(|s| !(1..=86400).contains(s)) {
        let at = at.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
        errors.invalid(&at, seconds, "must be greater than 0 and less than 86400");
    }
    for name in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        let found = value::text(spec, &[name]);
        if !found.is_empty() {
            rules::one_of(found, &["Cluster", "Local"], &at.child(name), &mut errors);
        }
    }
    if !value::text(spec, &["externalTrafficPolicy"]).is_empty() && !matches!(ty, "LoadBalancer" | "NodePort") {
        let has_external = !value::items(spec, &["externalIPs"]).is_empty();
        if !has_external {
            let found = value::text(spec, &["externalTrafficPolicy"]);
            errors.invalid(&at.child("externalTrafficPolicy"), found, "may only be set for externally-accessible services");
        }
    }
    for (i, ip) in value::items(spec, &["externalIPs"]).iter().enumerate() {
        let ip = ip.as_str().unwrap_or("");
        rules::messages(validate::legacy_ip(ip), ip, &at.child("externalIPs").index(i), &mut errors);
    }
    errors
}

fn port_list(ports: &[Value], ty: &str, errors: &mut FieldErrors) {
    let at = path("spec.ports");
    for (i, port) in ports.iter().enumerate() {
        let here = at.index(i);
        let name = value::text(port, &["name"]);
        if name.is_empty() && ports.len() > 1 {
            errors.required(&here.child("name"), "");
        }
        if !name.is_empty() {
            rules::messages(validate::dns_label(name, false), name, &here.child("name"), errors);
            if ports[..i].iter().any(|p| value::text(p, &["name"]) == name) {
                errors.duplicate(&here.child("name"), name);
            }
        }
        let number = value::int(port, &["port"]).unwrap_or(0);
        for message in validate::port_number(number) {
            errors.invalid(&here.child("port"), number, &message);
        }
        rules::one_of(value::text(port, &["protocol"]), &PROTOCOLS, &here.child("protocol"), errors);
        match get(port, "targetPort") {
            Value::String(name) => rules::messages(validate::port_name(name), name, &here.child("targetPort"), errors),
            Value::Number(n) => {
                let n = n.as_i64().unwrap_or(0);
                for message in validate::port_number(n) {
                    errors.invalid(&here.child("targetPort"), n, &message);
                }
            }
            _ => {}
        }
        let node_port = value::int(port, &["nodePort"]).unwrap_or(0);
        if node_port != 0 && !matches!(ty, "NodePort" | "LoadBalancer") {
            errors.forbidden(&here.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        let same = |p: &Value| ["port", "protocol"].iter().all(|n| get(p, n) == get(port, n));
        if ports[..i].iter().any(same) {
            errors.duplicate(&here, port.clone());
        }
    }
}

pub fn update(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let ty = |v: &Value| value::text(v, &["spec", "type"]).to_string();
    let address = |v: &Value| value::text(v, &["spec", "clusterIP"]).to_string();
    let keeps = ty(new) != "ExternalName" && ty(old) != "ExternalName";
    if keeps && !address(old).is_empty() && address(new) != address(old) {
        let found = value::items(new, &["spec", "clusterIPs"]).to_vec();
        let text = "may not change once set";
        if found.is_empty() {
            errors.invalid(&path("spec.clusterIPs").index(0), address(new), text);
        } else {
            errors.invalid(&path("spec.clusterIPs").index(0), found, text);
        }
    }
    errors
}

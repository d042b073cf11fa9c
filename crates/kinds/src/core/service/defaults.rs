//! What a Service is where its manifest does not say (`SetDefaults_Service`).

use crate::rules::get;
use meta::value;
use serde_json::Value;

pub fn apply(object: &mut Value) {
    value::fill(object, &["spec", "sessionAffinity"], "None");
    match value::text(object, &["spec", "sessionAffinity"]) {
        "None" => {
            value::remove(object, &["spec", "sessionAffinityConfig"]);
        }
        "ClientIP" => value::default(object, &["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"], 10800),
        _ => {}
    }
    value::fill(object, &["spec", "type"], "ClusterIP");
    for port in value::items_mut(object, &["spec", "ports"]) {
        value::fill(port, &["protocol"], "TCP");
        let target = get(port, "targetPort");
        if target.is_null() || target == &Value::from(0) || target == "" {
            let number = get(port, "port").clone();
            value::set(port, &["targetPort"], number);
        }
    }
    let ty = value::text(object, &["spec", "type"]).to_string();
    let external = ty == "ClusterIP" && !value::items(object, &["spec", "externalIPs"]).is_empty();
    if external || matches!(ty.as_str(), "NodePort" | "LoadBalancer") {
        value::fill(object, &["spec", "externalTrafficPolicy"], "Cluster");
    }
    if ty == "LoadBalancer" {
        for ingress in value::items_mut(object, &["status", "loadBalancer", "ingress"]) {
            if !value::text(ingress, &["ip"]).is_empty() {
                value::default(ingress, &["ipMode"], "VIP");
            }
        }
        value::default(object, &["spec", "allocateLoadBalancerNodePorts"], true);
    }
    if matches!(ty.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        value::default(object, &["spec", "internalTrafficPolicy"], "Cluster");
    }
}

/// An update that does not name what was given out keeps it: addresses while the type needs one, and the
/// node ports of the ports that stay (`patchAllocatedValues`).
pub fn carry_allocations(new: &mut Value, old: &Value) {
    let ty = |v: &Value| value::text(v, &["spec", "type"]).to_string();
    let needs_address = |t: &str| t != "ExternalName";
    if needs_address(&ty(new)) && needs_address(&ty(old)) && value::text(new, &["spec", "clusterIP"]).is_empty() {
        for name in ["clusterIP", "clusterIPs"] {
            value::carry(new, old, &["spec", name]);
        }
    }
    if needs_address(&ty(new)) && needs_address(&ty(old)) {
        for name in ["ipFamilies", "ipFamilyPolicy"] {
            if get(get(new, "spec"), name).is_null() {
                value::carry(new, old, &["spec", name]);
            }
        }
    }
    let has_node_ports = |t: &str| matches!(t, "NodePort" | "LoadBalancer");
    if has_node_ports(&ty(new)) && has_node_ports(&ty(old)) {
        let before: Vec<Value> = value::items(old, &["spec", "ports"]).to_vec();
        for port in value::items_mut(new, &["spec", "ports"]) {
            let same = |o: &&Value| get(o, "port") == get(port, "port") && get(o, "protocol") == get(port, "protocol");
            if value::int(port, &["nodePort"]).unwrap_or(0) == 0
                && let Some(node_port) = before.iter().find(same).map(|o| get(o, "nodePort").clone()).filter(|p| !p.is_null())
            {
                value::set(port, &["nodePort"], node_port);
            }
        }
        if value::int(new, &["spec", "healthCheckNodePort"]).unwrap_or(0) == 0 && ty(new) == "LoadBalancer" {
            value::carry(new, old, &["spec", "healthCheckNodePort"]);
        }
    }
    // What the new type has no use for goes, where the client merely left it in place.
    if !has_node_ports(&ty(new)) && has_node_ports(&ty(old)) {
        let before: Vec<Value> = value::items(old, &["spec", "ports"]).to_vec();
        for port in value::items_mut(new, &["spec", "ports"]) {
            if before.iter().any(|o| get(o, "nodePort") == get(port, "nodePort")) {
                value::remove(port, &["nodePort"]);
            }
        }
        value::remove(new, &["spec", "externalTrafficPolicy"]);
        value::remove(new, &["spec", "allocateLoadBalancerNodePorts"]);
    }
    if ty(new) == "ExternalName" && ty(old) != "ExternalName" {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            value::remove(new, &["spec", name]);
        }
    }
}

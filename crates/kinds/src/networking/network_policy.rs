//! What pods may talk to, and be talked to by.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use ipnet::IpNet;
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Value, json};

pub struct NetworkPolicy;

const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

impl Kind for NetworkPolicy {
    built_in!(
        "io.k8s.api.networking.v1.NetworkPolicy",
        Names::new(GROUP, "v1", "NetworkPolicy", "networkpolicies", Scope::Namespaced).short(&["netpol"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "podSelector"], json!({}));
        for (direction, _) in DIRECTIONS {
            for rule in value::items_mut(object, &["spec", direction]) {
                for port in value::items_mut(rule, &["ports"]) {
                    value::default(port, &["protocol"], "TCP");
                }
            }
        }
        if value::items(object, &["spec", "policyTypes"]).is_empty() {
            let egress = !value::items(object, &["spec", "egress"]).is_empty();
            let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            value::set(object, &["spec", "policyTypes"], types);
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        errors.extend(validate::label_selector(get(spec, "podSelector"), &at.child("podSelector")));
        for (direction, peers) in DIRECTIONS {
            for (i, rule) in value::items(spec, &[direction]).iter().enumerate() {
                let at = at.child(direction).index(i);
                for (i, port) in value::items(rule, &["ports"]).iter().enumerate() {
                    validate_port(port, &at.child("ports").index(i), &mut errors);
                }
                for (i, peer) in value::items(rule, &[peers]).iter().enumerate() {
                    validate_peer(peer, &at.child(peers).index(i), &mut errors);
                }
            }
        }
        let (types, types_at) = (value::items(spec, &["policyTypes"]), at.child("policyTypes"));
        if types.len() > 2 {
            errors.invalid(&types_at, types.to_vec(), "may not specify more than two policyTypes");
            return errors;
        }
        for (i, ty) in types.iter().enumerate().filter(|(_, ty)| *ty != "Ingress" && *ty != "Egress") {
            errors.not_supported(&types_at.index(i), ty.clone(), &["Ingress", "Egress"]);
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Pod-Selector", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let selector = value::at(object, &["spec", "podSelector"]).unwrap_or(&Value::Null);
        vec![table::name(object), table::label_selector(selector).into(), table::age(object, now).into()]
    }
}

fn validate_port(port: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let protocol = value::text(port, &["protocol"]);
    if port.get("protocol").is_some() && !matches!(protocol, "TCP" | "UDP" | "SCTP") {
        errors.not_supported(&at.child("protocol"), protocol, &["TCP", "UDP", "SCTP"]);
    }
    let end = value::int(port, &["endPort"]);
    let (port_at, end_at) = (at.child("port"), at.child("endPort"));
    match (get(port, "port"), end) {
        (Value::Null, Some(end)) => errors.invalid(&end_at, end, "may not be specified when `port` is not specified"),
        (Value::String(name), end) => {
            if let Some(end) = end {
                errors.invalid(&end_at, end, "may not be specified when `port` is non-numeric");
            }
            rules::messages(validate::port_name(name), name, &port_at, errors);
        }
        (Value::Number(number), end) => {
            let number = number.as_i64().unwrap_or(0);
            for message in validate::port_number(number) {
                errors.invalid(&port_at, number, &message);
            }
            if let Some(end) = end {
                if end < number {
                    errors.invalid(&end_at, number, "must be greater than or equal to `port`");
                }
                for message in validate::port_number(end) {
                    errors.invalid(&end_at, end, &message);
                }
            }
        }
        _ => {}
    }
}

fn validate_peer(peer: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut peers = 0;
    for name in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = peer.get(name) {
            peers += 1;
            errors.extend(validate::label_selector(selector, &at.child(name)));
        }
    }
    let block = peer.get("ipBlock");
    if let Some(block) = block {
        peers += 1;
        validate_block(block, &at.child("ipBlock"), errors);
    }
    if peers == 0 {
        errors.required(at, "must specify a peer");
    } else if peers > 1 && block.is_some() {
        errors.forbidden(at, "may not specify both ipBlock and another peer");
    }
}

fn validate_block(block: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let cidr = value::text(block, &["cidr"]);
    if cidr.is_empty() {
        errors.required(&at.child("cidr"), "");
        return;
    }
    rules::messages(validate::legacy_cidr(cidr), cidr, &at.child("cidr"), errors);
    let Ok(network) = cidr.parse::<IpNet>() else { return };
    for (i, except) in value::items(block, &["except"]).iter().enumerate() {
        let (except, at) = (except.as_str().unwrap_or_default(), at.child("except").index(i));
        rules::messages(validate::legacy_cidr(except), except, &at, errors);
        let Ok(inner) = except.parse::<IpNet>() else { continue };
        if !network.contains(&inner.addr()) || network.prefix_len() >= inner.prefix_len() {
            errors.invalid(&at, except, "must be a strict subset of `cidr`");
        }
    }
}

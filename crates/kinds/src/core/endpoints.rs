//! Where a Service leads, in the form that EndpointSlices replace.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct Endpoints;

impl Kind for Endpoints {
    built_in!("io.k8s.api.core.v1.Endpoints", Names::new("", "v1", "Endpoints", "endpoints", Scope::Namespaced).short(&["ep"]));

    fn deprecated(&self) -> &str {
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    }

    fn storage_prefix(&self) -> String {
        "services/endpoints".into()
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        for subset in value::items_mut(object, &["subsets"]) {
            for port in value::items_mut(subset, &["ports"]) {
                value::default(port, &["protocol"], "TCP");
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (i, subset) in value::items(object, &["subsets"]).iter().enumerate() {
            let at = path("subsets").index(i);
            let (ready, waiting) = (value::items(subset, &["addresses"]), value::items(subset, &["notReadyAddresses"]));
            if ready.is_empty() && waiting.is_empty() {
                errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
            }
            for (name, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
                for (j, found) in addresses.iter().enumerate() {
                    address(found, &at.child(name).index(j), &mut errors);
                }
            }
            let ports = value::items(subset, &["ports"]);
            for (j, found) in ports.iter().enumerate() {
                port(found, ports.len() > 1, &at.child("ports").index(j), &mut errors);
            }
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut texts = Vec::new();
        for (i, subset) in value::items(object, &["subsets"]).iter().enumerate() {
            for name in ["addresses", "notReadyAddresses"] {
                for (j, address) in value::items(subset, &[name]).iter().enumerate() {
                    let here = path("subsets").index(i).child(name).index(j).child("ip");
                    texts.extend(rules::ip_warnings(value::text(address, &["ip"]), &here));
                }
            }
        }
        texts
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Endpoints", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut all = Vec::new();
        for subset in value::items(object, &["subsets"]) {
            for address in value::items(subset, &["addresses"]) {
                let ip = value::text(address, &["ip"]);
                let ports = value::items(subset, &["ports"]);
                all.extend(ports.iter().map(|p| format!("{ip}:{}", value::int(p, &["port"]).unwrap_or(0))));
                if ports.is_empty() {
                    all.push(ip.to_string());
                }
            }
        }
        let shown = match all.len() {
            0 => "<none>".to_string(),
            1..=3 => all.join(","),
            n => format!("{} + {} more...", all[..3].join(","), n - 3),
        };
        vec![table::name(object), shown.into(), table::age(object, now).into()]
    }
}

fn address(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (ip, host) = (value::text(found, &["ip"]), value::text(found, &["hostname"]));
    let wrong = validate::legacy_ip(ip);
    let usable = wrong.is_empty();
    rules::messages(wrong, ip, &at.child("ip"), errors);
    if !host.is_empty() {
        rules::dns_label(host, &at.child("hostname"), errors);
    }
    if let Some(node) = get(found, "nodeName").as_str() {
        rules::dns_subdomain(node, &at.child("nodeName"), errors);
    }
    if usable {
        rules::endpoint_ip(ip, &at.child("ip"), errors);
    }
}

fn port(found: &Value, needs_name: bool, at: &FieldPath, errors: &mut FieldErrors) {
    match value::text(found, &["name"]) {
        "" if needs_name => errors.required(&at.child("name"), ""),
        "" => {}
        name => rules::dns_label(name, &at.child("name"), errors),
    }
    let number = value::int(found, &["port"]).unwrap_or(0);
    for message in validate::port_number(number) {
        errors.invalid(&at.child("port"), number, &message);
    }
    rules::one_of(value::text(found, &["protocol"]), &["SCTP", "TCP", "UDP"], &at.child("protocol"), errors);
    if let Some(protocol) = get(found, "appProtocol").as_str() {
        rules::messages(validate::qualified_name(protocol), protocol, &at.child("appProtocol"), errors);
    }
}

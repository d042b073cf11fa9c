//! Where a Service leads, in the form that EndpointSlices replace.

use crate::kind::built_in;
use crate::rules::{self, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct Endpoints;

impl Kind for Endpoints {
    built_in!("io.k8s.api.core.v1.Endpoints", Names::new("", "v1", "Endpoints", "endpoints", Scope::Namespaced).short(&["ep"]));

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
                for (j, address) in addresses.iter().enumerate() {
                    let ip = value::text(address, &["ip"]);
                    rules::messages(validate::legacy_ip(ip), ip, &at.child(name).index(j).child("ip"), &mut errors);
                }
            }
            let ports = value::items(subset, &["ports"]);
            for (j, port) in ports.iter().enumerate() {
                let at = at.child("ports").index(j);
                if ports.len() > 1 && value::text(port, &["name"]).is_empty() {
                    errors.required(&at.child("name"), "");
                }
                let number = value::int(port, &["port"]).unwrap_or(0);
                for message in validate::port_number(number) {
                    errors.invalid(&at.child("port"), number, &message);
                }
            }
        }
        errors
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

//! A part of a service's endpoints, of one address family.

use crate::kind::{built_in, differs};
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::net::IpAddr;

pub struct EndpointSlice;

const TOPOLOGY_MAX: usize = 16;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const ENDPOINTS_MAX: usize = 1000;
const HINTS_MAX: usize = 8;

impl Kind for EndpointSlice {
    built_in!(
        "io.k8s.api.discovery.v1.EndpointSlice",
        Names::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", Scope::Namespaced)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        let labels = |o| value::at(o, &["metadata", "labels"]).cloned().unwrap_or_default();
        differs(new, old, &["metadata", "apiVersion", "kind"]) || !rules::same(&labels(new), &labels(old))
    }

    fn default(&self, object: &mut Value) {
        for port in value::items_mut(object, &["ports"]) {
            value::default(port, &["name"], "");
            value::default(port, &["protocol"], "TCP");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_topology(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if get(new, "endpoints") != get(old, "endpoints") {
            drop_topology(new);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        const OURS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
        let mut warnings = Vec::new();
        if old.is_none() && value::text(object, &["addressType"]) == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".into());
        }
        // Controllers write what they were told, and wrote it right.
        if OURS.contains(&value::text(object, &["metadata", "labels", "endpointslice.kubernetes.io/managed-by"])) {
            return warnings;
        }
        for (i, endpoint) in value::items(object, &["endpoints"]).iter().enumerate() {
            for (j, address) in value::items(endpoint, &["addresses"]).iter().enumerate() {
                let at = path("endpoints").index(i).child("addresses").index(j);
                warnings.extend(rules::ip_warnings(address.as_str().unwrap_or_default(), &at));
            }
        }
        warnings
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let family = value::text(object, &["addressType"]);
        rules::one_of(family, &["FQDN", "IPv4", "IPv6"], &path("addressType"), &mut errors);
        ports(value::items(object, &["ports"]), &path("ports"), &mut errors);
        let (endpoints, at) = (value::items(object, &["endpoints"]), path("endpoints"));
        if endpoints.len() > ENDPOINTS_MAX {
            errors.too_many(&at, endpoints.len(), ENDPOINTS_MAX);
            return errors;
        }
        for (i, endpoint) in endpoints.iter().enumerate() {
            validate_endpoint(endpoint, family, &at.index(i), &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "addressType"), get(old, "addressType"), &path("addressType"), &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["AddressType", "Ports", "Endpoints"].map(|name| Column::new(name, "string")));
        columns.push(Column::age());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = value::items(object, &["ports"])
            .iter()
            .map(|port| value::int(port, &["port"]).map_or_else(|| get(port, "name").as_str().unwrap_or("*").into(), |n| n.to_string()))
            .collect();
        let endpoints: Vec<String> = value::items(object, &["endpoints"])
            .iter()
            .flat_map(|e| value::items(e, &["addresses"]))
            .map(|a| a.as_str().unwrap_or_default().into())
            .collect();
        vec![
            table::name(object),
            table::text(object, &["addressType"]),
            table::first_three(&ports, "<unset>").into(),
            table::first_three(&endpoints, "<unset>").into(),
            table::age(object, now).into(),
        ]
    }
}

/// A field of the version before, which nobody writes by this one.
fn drop_topology(object: &mut Value) {
    for endpoint in value::items_mut(object, &["endpoints"]) {
        value::remove(endpoint, &["deprecatedTopology"]);
    }
}

fn ports(ports: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    if ports.len() > PORTS_MAX {
        errors.too_many(at, ports.len(), PORTS_MAX);
        return;
    }
    let mut names = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let name = value::text(port, &["name"]);
        if !name.is_empty() {
            rules::messages(validate::dns_label(name, false), name, &at.child("name"), errors);
        }
        if names.contains(&name) {
            errors.duplicate(&at.child("name"), name);
        }
        names.push(name);
        rules::one_of(value::text(port, &["protocol"]), &["SCTP", "TCP", "UDP"], &at.child("protocol"), errors);
        if let Some(protocol) = get(port, "appProtocol").as_str() {
            rules::messages(validate::qualified_name(protocol), protocol, &at.child("appProtocol"), errors);
        }
    }
}

fn validate_endpoint(endpoint: &Value, family: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let (addresses, addresses_at) = (value::items(endpoint, &["addresses"]), at.child("addresses"));
    if addresses.is_empty() {
        errors.required(&addresses_at, "must contain at least 1 address");
    } else if addresses.len() > ADDRESSES_MAX {
        errors.too_many(&addresses_at, addresses.len(), ADDRESSES_MAX);
    }
    for (i, address) in addresses.iter().enumerate() {
        validate_address(address.as_str().unwrap_or_default(), family, &addresses_at, i, errors);
    }
    if let Some(node) = get(endpoint, "nodeName").as_str() {
        rules::messages(validate::dns_subdomain(node, false), node, &at.child("nodeName"), errors);
    }
    let (topology, topology_at) = (get(endpoint, "deprecatedTopology"), at.child("deprecatedTopology"));
    let keys = topology.as_object().map_or(0, serde_json::Map::len);
    if keys > TOPOLOGY_MAX {
        errors.too_many(&topology_at, keys, TOPOLOGY_MAX);
    }
    errors.extend(validate::labels(topology, &topology_at));
    if let Some(host) = get(endpoint, "hostname").as_str() {
        rules::messages(validate::dns_label(host, false), host, &at.child("hostname"), errors);
    }
    for (list, check) in
        [("forZones", validate::label_value as fn(&str) -> Vec<String>), ("forNodes", |n| validate::dns_subdomain(n, false))]
    {
        hints(value::items(endpoint, &["hints", list]), check, &at.child("hints").child(list), errors);
    }
}

fn validate_address(address: &str, family: &str, at: &FieldPath, i: usize, errors: &mut FieldErrors) {
    let at_index = at.index(i);
    let before = errors.0.len();
    match family {
        "IPv4" => rules::messages(validate::legacy_ip(address), address, &at_index, errors),
        "IPv6" => rules::messages(validate::ip(address), address, &at_index, errors),
        "FQDN" => {
            domain_name(address, &at_index, errors);
            return;
        }
        _ => return,
    }
    let Ok(ip) = address.parse::<IpAddr>() else { return };
    if errors.0.len() > before {
        return;
    }
    if ip.is_ipv4() != (family == "IPv4") {
        errors.invalid(at, address, if family == "IPv4" { "must be an IPv4 address" } else { "must be an IPv6 address" });
    }
    endpoint_ip(ip, address, &at_index, errors);
}

fn domain_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
        return;
    }
    let plain = name.strip_suffix('.').unwrap_or(name);
    let messages = validate::dns_subdomain(plain, false);
    if messages.is_empty() && !plain.contains('.') {
        errors.invalid(at, name, "should be a domain with at least two segments separated by dots");
    }
    rules::messages(messages, name, at, errors);
}

/// Traffic to a service must not reach what is a node's alone.
fn endpoint_ip(ip: IpAddr, text: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if ip.is_unspecified() {
        errors.invalid(at, text, &format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        errors.invalid(at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        errors.invalid(at, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_multicast {
        errors.invalid(at, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

fn hints(hints: &[Value], check: fn(&str) -> Vec<String>, at: &FieldPath, errors: &mut FieldErrors) {
    if hints.len() > HINTS_MAX {
        errors.too_many(at, hints.len(), HINTS_MAX);
        return;
    }
    let mut seen = Vec::new();
    for (i, hint) in hints.iter().enumerate() {
        let (name, at) = (value::text(hint, &["name"]), at.index(i).child("name"));
        if seen.contains(&name) {
            errors.duplicate(&at, name);
        }
        seen.push(name);
        rules::messages(check(name), name, &at, errors);
    }
}

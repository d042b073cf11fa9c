//! What a claim was given, who uses it, and what drivers say of it.

use super::requests::{self, CONFIG_MAX};
use super::shared::{binding_conditions, few, opaque, pool_name, raw, share_id, unique};
use crate::core::pod_template::{driver_name, scheduling};
use crate::rules::{self, get, has, path};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const RESULTS_MAX: usize = 32;
const RESERVED_MAX: usize = 256;
const ADDRESSES_MAX: usize = 16;
const CONDITIONS_MAX: usize = 8;

pub fn status(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let e = &mut errors;
    let (status, before, at) = (get(new, "status"), get(old, "status"), path("status"));
    let going = value::at(new, &["metadata", "deletionTimestamp"]).is_some();
    let devices = value::at(new, &["spec", "devices"]).unwrap_or(&Value::Null);
    let (reserved, here) = (value::items(status, &["reservedFor"]), at.child("reservedFor"));
    if few(reserved.len(), RESERVED_MAX, &here, e) {
        for (i, consumer) in reserved.iter().enumerate() {
            rules::required_texts(consumer, &["resource", "name", "uid"], &here.index(i), e);
        }
        unique(reserved.iter().map(|c| value::text(c, &["uid"])), &here, e);
    }
    let (now, was) = (get(status, "allocation"), get(before, "allocation"));
    let results = value::items(now, &["devices", "results"]);
    let given = value::items(status, &["devices"]);
    for (i, device) in given.iter().enumerate() {
        driver_says(device, results, &at.child("devices").index(i), e);
    }
    unique(given.iter().map(identity), &at.child("devices"), e);
    if !reserved.is_empty() {
        if now.is_null() {
            e.forbidden(&here, "may not be specified when `allocated` is not set");
        } else if going && reserved.iter().any(|c| !value::items(before, &["reservedFor"]).contains(c)) {
            e.forbidden(&here, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
        }
    }
    if !now.is_null() && !was.is_null() {
        rules::immutable(now, was, &at.child("allocation"), e);
    } else if !now.is_null() {
        allocation(now, devices, &at.child("allocation"), e);
    }
    errors
}

/// Driver, pool, device, and the share of it.
fn identity(device: &Value) -> String {
    ["driver", "pool", "device", "shareID"].map(|name| value::text(device, &[name])).join("/")
}

fn named(device: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    driver_name(value::text(device, &["driver"]), &at.child("driver"), errors);
    pool_name(value::text(device, &["pool"]), &at.child("pool"), errors);
    rules::dns_label(value::text(device, &["device"]), &at.child("device"), errors);
    if let Some(id) = get(device, "shareID").as_str() {
        share_id(id, &at.child("shareID"), errors);
    }
}

fn allocation(found: &Value, devices: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let here = at.child("devices");
    let (results, results_at) = (value::items(found, &["devices", "results"]), here.child("results"));
    if few(results.len(), RESULTS_MAX, &results_at, errors) {
        for (i, result) in results.iter().enumerate() {
            let at = results_at.index(i);
            requests::reference(value::text(result, &["request"]), devices, &at.child("request"), errors);
            named(result, &at, errors);
            binding_conditions(result, &at, errors);
        }
    }
    let (config, config_at) = (value::items(found, &["devices", "config"]), here.child("config"));
    if few(config.len(), 2 * CONFIG_MAX, &config_at, errors) {
        for (i, config) in config.iter().enumerate() {
            let at = config_at.index(i);
            match value::text(config, &["source"]) {
                "" => errors.required(&at.child("source"), ""),
                "FromClaim" | "FromClass" => {}
                other => errors.not_supported(&at.child("source"), other, &["FromClaim", "FromClass"]),
            }
            requests::references(config, devices, &at, errors);
            opaque(config, &at, errors);
        }
    }
    if has(found, "nodeSelector") {
        scheduling::node_selector(get(found, "nodeSelector"), &at.child("nodeSelector"), errors);
    }
}

fn driver_says(device: &Value, results: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    named(device, at, errors);
    let id = identity(device);
    if !results.iter().any(|result| identity(result) == id) {
        errors.invalid(at, id.trim_end_matches('/'), "must be an allocated device in the claim");
    }
    let conditions = value::items(device, &["conditions"]);
    few(conditions.len(), CONDITIONS_MAX, &at.child("conditions"), errors);
    rules::conditions(conditions, &at.child("conditions"), errors);
    if has(device, "data") {
        raw(get(device, "data"), &at.child("data"), errors);
    }
    let (network, at) = (get(device, "networkData"), at.child("networkData"));
    for (name, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if value::text(network, &[name]).len() > most {
            errors.too_long(&at.child(name), most);
        }
    }
    let addresses: Vec<&str> = value::items(network, &["ips"]).iter().filter_map(Value::as_str).collect();
    let here = at.child("ips");
    if few(addresses.len(), ADDRESSES_MAX, &here, errors) {
        for (i, address) in addresses.iter().enumerate() {
            let form = address.split_once('/').and_then(|(ip, length)| {
                let ip: std::net::IpAddr = ip.parse().ok()?;
                let length: u8 = length.parse().ok().filter(|l| *l <= if ip.is_ipv4() { 32 } else { 128 })?;
                Some(format!("{ip}/{length}"))
            });
            match form {
                None => {
                    let why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
                    errors.invalid(&here.index(i), *address, why);
                }
                Some(form) if form != *address => {
                    errors.invalid(&here.index(i), *address, &format!("must be in canonical form (\"{form}\")"));
                }
                Some(_) => {}
            }
        }
        unique(addresses.iter(), &here, errors);
    }
}

//! What a claim asks for.

use super::selectors;
use super::shared::{few, fully_qualified, opaque, toleration, unique};
use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub const REQUESTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const SELECTORS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
pub const CONFIG_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 << 10;

pub fn default(spec: &mut Value) {
    for request in value::items_mut(spec, &["devices", "requests"]) {
        if let Some(exactly) = request.get_mut("exactly") {
            default_request(exactly);
        }
        for alternative in value::items_mut(request, &["firstAvailable"]) {
            default_request(alternative);
        }
    }
}

fn default_request(request: &mut Value) {
    value::default(request, &["allocationMode"], "ExactCount");
    if value::text(request, &["allocationMode"]) == "ExactCount" && value::int(request, &["count"]).unwrap_or(0) == 0 {
        value::set(request, &["count"], 1);
    }
    for toleration in value::items_mut(request, &["tolerations"]) {
        value::default(toleration, &["operator"], "Equal");
    }
}

pub fn check(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (devices, at) = (get(spec, "devices"), at.child("devices"));
    let (requests, here) = (value::items(devices, &["requests"]), at.child("requests"));
    if few(requests.len(), REQUESTS_MAX, &here, errors) {
        requests.iter().enumerate().for_each(|(i, request)| one(request, &here.index(i), errors));
        unique(requests.iter().map(|r| value::text(r, &["name"])), &here, errors);
    }
    let (constraints, here) = (value::items(devices, &["constraints"]), at.child("constraints"));
    if few(constraints.len(), CONSTRAINTS_MAX, &here, errors) {
        for (i, constraint) in constraints.iter().enumerate() {
            let here = here.index(i);
            references(constraint, devices, &here, errors);
            let attributes = ["matchAttribute", "distinctAttribute"].into_iter().find_map(|n| Some((n, get(constraint, n).as_str()?)));
            match attributes {
                Some((name, attribute)) => fully_qualified(attribute, &here.child(name), errors),
                None => {
                    let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
                    errors.required(&here, why);
                }
            }
        }
    }
    let (config, here) = (value::items(devices, &["config"]), at.child("config"));
    if few(config.len(), CONFIG_MAX, &here, errors) {
        for (i, config) in config.iter().enumerate() {
            references(config, devices, &here.index(i), errors);
            opaque(config, &here.index(i), errors);
        }
    }
}

/// `requests` of a constraint or a configuration name what is asked for.
pub fn references(of: &Value, devices: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let names: Vec<&str> = value::items(of, &["requests"]).iter().filter_map(Value::as_str).collect();
    let here = at.child("requests");
    if few(names.len(), REQUESTS_MAX, &here, errors) {
        names.iter().enumerate().for_each(|(i, name)| reference(name, devices, &here.index(i), errors));
        unique(names.iter(), &here, errors);
    }
}

/// `request`, or `request/alternative`.
pub fn reference(name: &str, devices: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 {
        return errors.invalid(at, name, why);
    }
    parts.iter().for_each(|part| rules::dns_label(part, at, errors));
    let named = |of: &Value, name: &str| value::text(of, &["name"]) == name;
    let request = value::items(devices, &["requests"]).iter().find(|r| named(r, parts[0]));
    let found = request.is_some_and(|request| {
        parts.get(1).is_none_or(|sub| value::items(request, &["firstAvailable"]).iter().any(|alternative| named(alternative, sub)))
    });
    if !found {
        errors.invalid(at, name, why);
    }
}

fn one(request: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let alternatives = value::items(request, &["firstAvailable"]);
    request_name(request, at, errors);
    match (request.get("exactly"), alternatives.is_empty()) {
        (None, true) => errors.required(at, "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), false) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(at, Value::Null, detail);
        }
        (Some(exactly), true) => check_request(exactly, &at.child("exactly"), errors),
        (None, false) => {
            let at = at.child("firstAvailable");
            if few(alternatives.len(), ALTERNATIVES_MAX, &at, errors) {
                for (i, alternative) in alternatives.iter().enumerate() {
                    request_name(alternative, &at.index(i), errors);
                    check_request(alternative, &at.index(i), errors);
                }
                unique(alternatives.iter().map(|r| value::text(r, &["name"])), &at, errors);
            }
        }
    }
}

fn request_name(request: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    rules::dns_label(value::text(request, &["name"]), &at.child("name"), errors);
}

fn check_request(request: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    match value::text(request, &["deviceClassName"]) {
        "" => errors.required(&at.child("deviceClassName"), ""),
        name => rules::messages(validate::dns_subdomain(name, false), name, &at.child("deviceClassName"), errors),
    }
    check_selectors(value::items(request, &["selectors"]), &at.child("selectors"), errors);
    let count = value::int(request, &["count"]).unwrap_or(0);
    match value::text(request, &["allocationMode"]) {
        "All" if count != 0 => errors.invalid(&at.child("count"), count, "must not be specified when allocationMode is 'All'"),
        "All" => {}
        "ExactCount" if count <= 0 => errors.invalid(&at.child("count"), count, "must be greater than zero"),
        "ExactCount" => {}
        other => errors.not_supported(&at.child("allocationMode"), other, &["All", "ExactCount"]),
    }
    for (i, found) in value::items(request, &["tolerations"]).iter().enumerate() {
        toleration(found, &at.child("tolerations").index(i), errors);
    }
}

pub fn check_selectors(selectors: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    if !few(selectors.len(), SELECTORS_MAX, at, errors) {
        return;
    }
    for (i, selector) in selectors.iter().enumerate() {
        let here = at.index(i).child("cel");
        if selector.get("cel").is_none() {
            errors.required(&here, "");
        } else if value::text(selector, &["cel", "expression"]).len() > EXPRESSION_MAX {
            errors.too_long(&here.child("expression"), EXPRESSION_MAX);
        } else {
            selectors::check(value::text(selector, &["cel", "expression"]), &here.child("expression"), errors);
        }
    }
}

//! What a claim asks for. Whether selectors compile is for their evaluator to say.

use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

const REQUESTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const SELECTORS_MAX: usize = 32;

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
    let at = at.child("devices").child("requests");
    let requests = value::items(spec, &["devices", "requests"]);
    unique(requests, REQUESTS_MAX, &at, errors);
    for (i, request) in requests.iter().enumerate() {
        let at = at.index(i);
        let alternatives = value::items(request, &["firstAvailable"]);
        request_name(request, &at, errors);
        match (request.get("exactly"), alternatives.is_empty()) {
            (None, true) => errors.required(&at, "exactly one of `exactly` or `firstAvailable` is required"),
            (Some(_), false) => {
                let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                errors.invalid(&at, Value::Null, detail);
            }
            (Some(exactly), true) => check_request(exactly, &at.child("exactly"), errors),
            (None, false) => {
                let at = at.child("firstAvailable");
                unique(alternatives, ALTERNATIVES_MAX, &at, errors);
                for (i, alternative) in alternatives.iter().enumerate() {
                    request_name(alternative, &at.index(i), errors);
                    check_request(alternative, &at.index(i), errors);
                }
            }
        }
    }
}

fn unique(items: &[Value], max: usize, at: &FieldPath, errors: &mut FieldErrors) {
    if items.len() > max {
        errors.too_many(at, items.len(), max);
    }
    for (i, item) in items.iter().enumerate() {
        if items[..i].iter().any(|other| get(other, "name") == get(item, "name")) {
            errors.duplicate(&at.index(i), get(item, "name").clone());
        }
    }
}

fn request_name(request: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let name = value::text(request, &["name"]);
    rules::messages(validate::dns_label(name, false), name, &at.child("name"), errors);
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
}

pub fn check_selectors(selectors: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    if selectors.len() > SELECTORS_MAX {
        errors.too_many(at, selectors.len(), SELECTORS_MAX);
    }
    for (i, selector) in selectors.iter().enumerate() {
        if selector.get("cel").is_none() {
            errors.required(&at.index(i).child("cel"), "");
        }
    }
}

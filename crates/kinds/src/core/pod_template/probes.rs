//! What probes and hooks may not be.

use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

fn port(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    match found {
        Value::String(name) => rules::messages(validate::port_name(name), name, at, errors),
        other => {
            let number = other.as_i64().unwrap_or(0);
            for message in validate::port_number(number) {
                errors.invalid(at, number, &message);
            }
        }
    }
}

/// Exactly one way to act.
fn handler(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let given: Vec<&str> = HANDLERS.iter().filter(|h| !get(found, h).is_null()).copied().collect();
    if given.is_empty() {
        errors.required(at, "must specify a handler type");
    }
    for more in given.iter().skip(1) {
        errors.forbidden(&at.child(more), "may not specify more than 1 handler type");
    }
    match given.first() {
        Some(&"exec") if value::items(found, &["exec", "command"]).is_empty() => errors.required(&at.child("exec").child("command"), ""),
        Some(&"httpGet") => {
            let http = at.child("httpGet");
            if value::text(found, &["httpGet", "path"]).is_empty() {
                errors.required(&http.child("path"), "");
            }
            port(get(get(found, "httpGet"), "port"), &http.child("port"), errors);
            rules::one_of(value::text(found, &["httpGet", "scheme"]), &["HTTP", "HTTPS"], &http.child("scheme"), errors);
            for header in value::items(found, &["httpGet", "httpHeaders"]) {
                let name = value::text(header, &["name"]);
                rules::messages(validate::http_header_name(name), name, &http.child("httpHeaders"), errors);
            }
        }
        Some(&"tcpSocket") => port(get(get(found, "tcpSocket"), "port"), &at.child("tcpSocket").child("port"), errors),
        Some(&"grpc") => port(get(get(found, "grpc"), "port"), &at.child("grpc").child("port"), errors),
        _ => {}
    }
}

pub fn all(container: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = get(container, name);
        if probe.is_null() {
            continue;
        }
        let at = at.child(name);
        handler(probe, &at, errors);
        let numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
        rules::not_negative(probe, &numbers, &at, errors);
        let successes = value::int(probe, &["successThreshold"]).unwrap_or(1);
        if name != "readinessProbe" && successes != 1 {
            errors.invalid(&at.child("successThreshold"), successes, "must be 1");
        }
        if let Some(seconds) = value::int(probe, &["terminationGracePeriodSeconds"]) {
            if name == "readinessProbe" {
                errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must not be set for readinessProbes");
            } else if seconds <= 0 {
                errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
            }
        }
    }
    for hook in ["postStart", "preStop"] {
        let found = value::at(container, &["lifecycle", hook]).unwrap_or(&Value::Null);
        if !found.is_null() {
            handler(found, &at.child("lifecycle").child(hook), errors);
        }
    }
}

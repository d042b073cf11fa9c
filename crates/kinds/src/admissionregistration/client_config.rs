//! How a webhook is reached: a URL, or a service.

use crate::rules::get;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub fn default(config: &mut Value) {
    if config.get("service").is_some() {
        value::default(config, &["service", "port"], 443);
    }
}

pub fn check(config: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    match (get(config, "url").as_str(), config.get("service")) {
        (None, None) | (Some(_), Some(_)) => errors.required(at, "exactly one of url or service is required"),
        (Some(url), None) => check_url(url, &at.child("url"), errors),
        (None, Some(service)) => check_service(service, &at.child("service"), errors),
    }
}

fn check_url(url: &str, at: &FieldPath, errors: &mut FieldErrors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        errors.invalid(at, scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        errors.invalid(at, host, &format!("host must be specified{FORM}"));
    }
    for (found, message) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !found.is_empty() {
            errors.invalid(at, found, message);
        }
    }
}

fn check_service(service: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for name in ["name", "namespace"] {
        if value::text(service, &[name]).is_empty() {
            errors.required(&at.child(name), &format!("service {name} is required"));
        }
    }
    let port = value::int(service, &["port"]).unwrap_or(443);
    let messages = validate::port_number(port);
    if !messages.is_empty() {
        errors.invalid(&at.child("port"), port, &format!("port is not valid: {}", messages.join(", ")));
    }
    let (path, at) = (value::text(service, &["path"]), at.child("path"));
    if path.is_empty() || path == "/" {
        return;
    }
    if path == "//" {
        errors.invalid(&at, path, "segment[0] may not be empty");
        return;
    }
    let Some(segments) = path.strip_prefix('/') else {
        errors.invalid(&at, path, "must start with a '/'");
        return;
    };
    for (i, segment) in segments.strip_suffix('/').unwrap_or(segments).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(&at, path, &format!("segment[{i}] may not be empty"));
            continue;
        }
        for message in validate::dns_subdomain(segment, false) {
            errors.invalid(&at, path, &format!("segment[{i}]: {message}"));
        }
    }
}

//! HTTP from outside, by host and path.

use super::{GROUP, api_group, segments};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub struct Ingress;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

impl Kind for Ingress {
    built_in!("io.k8s.api.networking.v1.Ingress", Names::new(GROUP, "v1", "Ingress", "ingresses", Scope::Namespaced).short(&["ing"]));

    fn storage_prefix(&self) -> String {
        "ingress".into()
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let rules = value::items(spec, &["rules"]);
        if rules.is_empty() && spec.get("defaultBackend").is_none() {
            errors.invalid(&at, get(spec, "rules").clone(), "either `defaultBackend` or `rules` must be specified");
        }
        if let Some(backend) = spec.get("defaultBackend") {
            validate_backend(backend, &at.child("defaultBackend"), &mut errors);
        }
        for (i, rule) in rules.iter().enumerate() {
            validate_rule(rule, &at.child("rules").index(i), &mut errors);
        }
        for (i, tls) in value::items(spec, &["tls"]).iter().enumerate() {
            let at = at.child("tls").index(i);
            for (i, host) in value::items(tls, &["hosts"]).iter().enumerate() {
                validate_host(host.as_str().unwrap_or_default(), &at.child("hosts").index(i), &mut errors);
            }
            let secret = value::text(tls, &["secretName"]);
            if !secret.is_empty() {
                rules::messages(validate::dns_subdomain(secret, false), secret, &at.child("secretName"), &mut errors);
            }
        }
        if let Some(class) = get(spec, "ingressClassName").as_str() {
            rules::messages(validate::dns_subdomain(class, false), class, &at.child("ingressClassName"), &mut errors);
        }
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let annotation = value::at(object, &["metadata", "annotations", CLASS_ANNOTATION]).and_then(Value::as_str);
        let class = value::at(object, &["spec", "ingressClassName"]).and_then(Value::as_str);
        if let (Some(annotation), Some(class)) = (annotation, class)
            && annotation != class
        {
            let message = "must match `ingressClassName` when both are specified";
            errors.invalid(&path("annotations").child(CLASS_ANNOTATION), annotation, message);
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (i, ingress) in value::items(new, &["status", "loadBalancer", "ingress"]).iter().enumerate() {
            let at = path("status.loadBalancer.ingress").index(i);
            let (ip, host) = (value::text(ingress, &["ip"]), value::text(ingress, &["hostname"]));
            if !ip.is_empty() {
                rules::messages(validate::legacy_ip(ip), ip, &at.child("ip"), &mut errors);
            }
            if !host.is_empty() {
                rules::messages(validate::dns_subdomain(host, false), host, &at.child("hostname"), &mut errors);
                if host.parse::<IpAddr>().is_ok() {
                    errors.invalid(&at.child("hostname"), host, "must be a DNS name, not an IP address");
                }
            }
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        if value::at(object, &["metadata", "annotations", CLASS_ANNOTATION]).is_some() {
            return vec![format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead")];
        }
        Vec::new()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Class", "Hosts", "Address", "Ports"].map(|name| Column::new(name, "string")));
        columns.push(Column::age());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let ports = if value::items(spec, &["tls"]).is_empty() { "80" } else { "80, 443" };
        vec![
            table::name(object),
            table::text_or(spec, &["ingressClassName"], "<none>"),
            hosts(value::items(spec, &["rules"])).into(),
            addresses(object).into(),
            ports.into(),
            table::age(object, now).into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

fn hosts(rules: &[Value]) -> String {
    let (mut hosts, mut more) = (Vec::new(), false);
    for host in rules.iter().map(|rule| value::text(rule, &["host"])) {
        more |= hosts.len() == 3;
        if !more && !host.is_empty() {
            hosts.push(host);
        }
    }
    match (hosts.is_empty(), more) {
        (true, _) => "*".into(),
        (false, true) => format!("{} + {} more...", hosts.join(","), rules.len() - 3),
        (false, false) => hosts.join(","),
    }
}

fn addresses(object: &Value) -> String {
    let of = |ingress| match value::text(ingress, &["ip"]) {
        "" => value::text(ingress, &["hostname"]),
        ip => ip,
    };
    let all: BTreeSet<&str> =
        value::items(object, &["status", "loadBalancer", "ingress"]).iter().map(of).filter(|address| !address.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn validate_host(host: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let messages = if host.contains('*') { validate::wildcard_dns_subdomain(host) } else { validate::dns_subdomain(host, false) };
    rules::messages(messages, host, at, errors);
}

fn validate_rule(rule: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let host = value::text(rule, &["host"]);
    if !host.is_empty() {
        if host.parse::<IpAddr>().is_ok() {
            errors.invalid(&at.child("host"), host, "must be a DNS name, not an IP address");
        }
        validate_host(host, &at.child("host"), errors);
    }
    let Some(http) = rule.get("http") else { return };
    let at = at.child("http").child("paths");
    let paths = value::items(http, &["paths"]);
    if paths.is_empty() {
        errors.required(&at, "");
    }
    for (i, path) in paths.iter().enumerate() {
        validate_path(path, &at.index(i), errors);
    }
}

fn validate_path(path: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let text = value::text(path, &["path"]);
    let path_at = at.child("path");
    match get(path, "pathType").as_str() {
        None => {
            errors.required(&at.child("pathType"), "pathType must be specified");
            return;
        }
        Some("Exact" | "Prefix") => {
            if !text.starts_with('/') {
                errors.invalid(&path_at, text, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|bad| text.contains(bad)) {
                errors.invalid(&path_at, text, &format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].into_iter().filter(|bad| text.ends_with(bad)) {
                errors.invalid(&path_at, text, &format!("cannot end with '{bad}'"));
            }
        }
        Some("ImplementationSpecific") => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&path_at, text, "must be an absolute path");
            }
        }
        Some(other) => errors.not_supported(&at.child("pathType"), other, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    validate_backend(get(path, "backend"), &at.child("backend"), errors);
}

fn validate_backend(backend: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    match (backend.get("resource"), backend.get("service")) {
        (Some(_), Some(_)) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => errors.invalid(at, "", "resource or service backend is required"),
        (Some(resource), None) => {
            let at = at.child("resource");
            api_group(resource, "apiGroup", &at, errors);
            segments(resource, &["kind", "name"], &at, errors);
        }
        (None, Some(service)) => {
            let service_at = at.child("service");
            match value::text(service, &["name"]) {
                "" => errors.required(&service_at.child("name"), ""),
                name => rules::messages(validate::dns_label(name, false), name, &service_at.child("name"), errors),
            }
            let (name, number) = (value::text(service, &["port", "name"]), value::int(service, &["port", "number"]).unwrap_or(0));
            let port_at = service_at.child("port");
            match (name.is_empty(), number) {
                (true, 0) => errors.required(at, "port name or number is required"),
                (true, number) => {
                    for message in validate::port_number(number) {
                        errors.invalid(&port_at.child("number"), number, &message);
                    }
                }
                (false, 0) => rules::messages(validate::port_name(name), name, &port_at.child("name"), errors),
                (false, _) => errors.invalid(at, "", "cannot set both port name & port number"),
            }
        }
    }
}

//! A request for a certificate: who asks is written by the server, who answers needs `approval` and `status`.

use super::pem::{check_certificates, check_request};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct CertificateSigningRequest;

const REQUESTER: [&str; 4] = ["username", "uid", "groups", "extra"];
const SECONDS_MIN: i64 = 600;
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

impl Kind for CertificateSigningRequest {
    built_in!(
        "io.k8s.api.certificates.v1.CertificateSigningRequest",
        Names::new("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", Scope::Cluster).short(&["csr"])
    );

    fn check_name(&self, _name: &str, _is_prefix: bool) -> Vec<String> {
        Vec::new()
    }

    fn prepare_create(&self, object: &mut Value) {
        value::remove(object, &["status"]);
        for name in REQUESTER {
            value::remove(object, &["spec", name]);
        }
    }

    fn stamp_requester(&self, object: &mut Value, user: &Value) {
        for name in REQUESTER {
            if let Some(found) = user.get(name).filter(|found| **found != "" && !rules::same(found, &Value::Null)) {
                value::set(object, &["spec", name], found.clone());
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let request = value::text(spec, &["request"]);
        let pem = STANDARD.decode(request).unwrap_or_default();
        if let Err(why) = check_request(&pem) {
            errors.invalid(&at.child("request"), request, &why);
        }
        let usages = value::items(spec, &["usages"]);
        if usages.is_empty() {
            errors.required(&at.child("usages"), "");
        }
        for (i, usage) in usages.iter().enumerate() {
            let at = at.child("usages").index(i);
            if !usage.as_str().is_some_and(|u| USAGES.contains(&u)) {
                errors.not_supported(&at, usage.clone(), &USAGES);
            }
            if usages[..i].contains(usage) {
                errors.duplicate(&at, usage.clone());
            }
        }
        match value::text(spec, &["signerName"]) {
            "kubernetes.io/legacy-unknown" => {
                let message = "the legacy signerName is not allowed via this API version";
                errors.invalid(&at.child("signerName"), "kubernetes.io/legacy-unknown", message);
            }
            name => signer_name(name, &at.child("signerName"), &mut errors),
        }
        if let Some(seconds) = value::int(spec, &["expirationSeconds"]).filter(|s| *s < SECONDS_MIN) {
            let message = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.invalid(&at.child("expirationSeconds"), seconds, message);
        }
        conditions(object, &mut errors);
        errors
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["spec"]);
        value::carry(new, old, &["status"]);
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["spec"]);
        // Whoever issues does not approve: what was decided stays as it was.
        for condition in value::items_mut(new, &["status", "conditions"]) {
            let ty = value::text(condition, &["type"]).to_string();
            if matches!(ty.as_str(), "Approved" | "Denied")
                && let Some(was) = of_type(old, &ty).first()
            {
                *condition = (*was).clone();
            }
        }
        stamp_times(new, old);
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = self.validate(new);
        kept(new, old, &mut errors);
        for ty in ["Approved", "Denied"] {
            let (now, was) = (of_type(new, ty), of_type(old, ty));
            if now.len() > was.len() {
                errors.forbidden(&path("status.conditions"), &format!("updates may not add a condition of type {ty:?}"));
            } else if now.len() == was.len() && now != was {
                errors.forbidden(&path("status.conditions"), &format!("updates may not modify a condition of type {ty:?}"));
            }
        }
        let certificate = |o| value::text(o, &["status", "certificate"]);
        if certificate(new) != certificate(old) && !certificate(old).is_empty() {
            errors.forbidden(&path("status.certificate"), "updates may not modify existing certificate content");
        }
        let pem = STANDARD.decode(certificate(new)).unwrap_or_default();
        if !certificate(new).is_empty()
            && certificate(new) != certificate(old)
            && let Err(why) = check_certificates(&pem)
        {
            errors.invalid(&path("status.certificate"), "<certificate data>", &why);
        }
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["spec.signerName".into()]
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name(), Column::age()];
        columns.extend(["SignerName", "Requestor", "RequestedDuration", "Condition"].map(|name| Column::new(name, "string")));
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let has = |ty: &str| !of_type(object, ty).is_empty();
        let mut condition = String::from(match (has("Denied"), has("Approved")) {
            (true, _) => "Denied",
            (false, true) => "Approved",
            (false, false) => "Pending",
        });
        if has("Failed") {
            condition += ",Failed";
        }
        if !value::text(object, &["status", "certificate"]).is_empty() {
            condition += ",Issued";
        }
        let duration = value::int(object, &["spec", "expirationSeconds"]).map_or("<none>".into(), meta::time::human_duration);
        vec![
            table::name(object),
            table::age(object, now).into(),
            table::text_or(object, &["spec", "signerName"], "<none>"),
            table::text(object, &["spec", "username"]),
            duration.into(),
            condition.into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![
            Subresource::Update {
                name: "approval",
                verbs: &["get", "patch", "update"],
                prepare: prepare_approval,
                validate: validate_approval,
            },
            Subresource::Status,
        ]
    }
}

/// Only the conditions change.
fn prepare_approval(new: &mut Value, old: &Value) {
    stamp_times(new, old);
    let conditions = value::at(new, &["status", "conditions"]).cloned();
    value::carry(new, old, &["spec"]);
    value::carry(new, old, &["status"]);
    match conditions {
        Some(conditions) => value::set(new, &["status", "conditions"], conditions),
        None => {
            value::remove(new, &["status", "conditions"]);
        }
    }
}

fn validate_approval(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = CertificateSigningRequest.validate(new);
    kept(new, old, &mut errors);
    errors
}

fn of_type<'a>(object: &'a Value, ty: &str) -> Vec<&'a Value> {
    value::items(object, &["status", "conditions"]).iter().filter(|c| value::text(c, &["type"]) == ty).collect()
}

/// What is decided is not undecided.
fn kept(new: &Value, old: &Value, errors: &mut FieldErrors) {
    for ty in ["Approved", "Denied", "Failed"] {
        if of_type(new, ty).len() < of_type(old, ty).len() {
            errors.forbidden(&path("status.conditions"), &format!("updates may not remove a condition of type {ty:?}"));
        }
    }
}

fn stamp_times(new: &mut Value, old: &Value) {
    let now = meta::time::now();
    for condition in value::items_mut(new, &["status", "conditions"]) {
        value::default(condition, &["lastUpdateTime"], now.as_str());
        let same = |c: &&&Value| value::text(c, &["status"]) == value::text(condition, &["status"]);
        let since = of_type(old, value::text(condition, &["type"])).iter().find(same).and_then(|c| c.get("lastTransitionTime")).cloned();
        value::default(condition, &["lastTransitionTime"], since.unwrap_or_else(|| now.as_str().into()));
    }
}

fn conditions(object: &Value, errors: &mut FieldErrors) {
    let (conditions, at) = (value::items(object, &["status", "conditions"]), path("status.conditions"));
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        let ty = value::text(condition, &["type"]);
        if ty.is_empty() {
            errors.required(&at.child("type"), "");
        }
        let allowed: &[&str] = if matches!(ty, "Approved" | "Denied" | "Failed") { &["True"] } else { &["False", "True", "Unknown"] };
        rules::one_of(value::text(condition, &["status"]), allowed, &at.child("status"), errors);
        if conditions[..i].iter().any(|c| value::text(c, &["type"]) == ty) {
            errors.duplicate(&at.child("type"), ty);
        }
    }
    if !of_type(object, "Approved").is_empty() && !of_type(object, "Denied").is_empty() {
        errors.invalid(&at, "Denied", "Approved and Denied conditions are mutually exclusive");
    }
}

/// `example.com/name.of.signer`
fn signer_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        errors.invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    };
    rules::messages(validate::dns_subdomain(domain, false), domain, at, errors);
    if !domain.contains('.') {
        errors.invalid(at, domain, "should be a domain with at least two segments separated by dots");
    }
    rules::messages(validate::dns_subdomain(rest, false), rest, at, errors);
}

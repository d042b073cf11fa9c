//! Several sources in one volume, and what is shown of the pod itself.

use super::env;
use super::volumes::{key_to_path, local_path, mode};
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::collections::HashSet;

const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const DAY: i64 = 24 * 60 * 60;

/// A file that shows a field or an amount.
pub fn downward_file(item: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    rules::required_texts(item, &["path"], at, errors);
    local_path(value::text(item, &["path"]), &at.child("path"), errors);
    if has(item, "fieldRef") {
        env::field(get(item, "fieldRef"), &env::FILE_FIELDS, &at.child("fieldRef"), errors);
        if has(item, "resourceFieldRef") {
            errors.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if has(item, "resourceFieldRef") {
        env::resource_field(get(item, "resourceFieldRef"), true, &at.child("resourceFieldRef"), errors);
    } else {
        errors.required(at, "one of fieldRef and resourceFieldRef is required");
    }
    mode(item, "mode", at, errors);
}

struct Paths<'a, 'e> {
    seen: HashSet<&'a str>,
    at: &'e FieldPath,
}

impl<'a> Paths<'a, '_> {
    /// `shown` is what the error is about.
    fn take(&mut self, path: &'a str, shown: &str, errors: &mut FieldErrors) {
        if !self.seen.insert(path) {
            errors.invalid(self.at, shown, "conflicting duplicate paths");
        }
    }
}

pub fn sources(volume: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut paths = Paths { seen: HashSet::new(), at };
    for (i, source) in value::items(volume, &["sources"]).iter().enumerate() {
        let here = at.child("sources").index(i);
        let mut given = 0;
        for kind in ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"] {
            let found = get(source, kind);
            if found.is_null() {
                continue;
            }
            given += 1;
            let path = here.child(kind);
            match kind {
                "secret" | "configMap" => keys(found, &path, &mut paths, errors),
                "downwardAPI" => {
                    for item in value::items(found, &["items"]) {
                        downward_file(item, &path, errors);
                        let file = value::text(item, &["path"]);
                        if !file.is_empty() {
                            paths.take(file, file, errors);
                        }
                    }
                }
                "serviceAccountToken" => token(found, at, &path, errors),
                "clusterTrustBundle" => trust_bundle(found, &path, &mut paths, errors),
                _ => certificate(found, &path, &mut paths, errors),
            }
        }
        if given > 1 {
            errors.forbidden(&here, "may not specify more than 1 volume type per source");
        }
    }
}

fn keys<'a>(found: &'a Value, at: &FieldPath, paths: &mut Paths<'a, '_>, errors: &mut FieldErrors) {
    rules::required_texts(found, &["name"], at, errors);
    for (i, item) in value::items(found, &["items"]).iter().enumerate() {
        key_to_path(item, &at.child("items").index(i), errors);
        let file = value::text(item, &["path"]);
        if !file.is_empty() {
            paths.take(file, value::text(found, &["name"]), errors);
        }
    }
}

fn token(found: &Value, volume: &FieldPath, at: &FieldPath, errors: &mut FieldErrors) {
    let seconds = value::int(found, &["expirationSeconds"]).unwrap_or(0);
    let here = at.child("expirationSeconds");
    if seconds < 600 {
        errors.invalid(&here, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        errors.invalid(&here, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    match value::text(found, &["path"]) {
        "" => errors.required(&volume.child("path"), ""),
        path => local_path(path, &volume.child("path"), errors),
    }
}

fn signer_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
    } else if name.split('/').count() != 2 || name.split('/').any(str::is_empty) {
        errors.invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    }
}

fn trust_bundle<'a>(found: &'a Value, at: &FieldPath, paths: &mut Paths<'a, '_>, errors: &mut FieldErrors) {
    let (name, signer) = (get(found, "name").as_str(), get(found, "signerName").as_str());
    match (name, signer) {
        (Some(_), Some(_)) => errors.invalid(at, found.clone(), "only one of name and signerName may be used"),
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(&at.child("name"), "must be a valid object name");
            }
            let own = name.rsplit(':').next().unwrap_or(name);
            for message in validate::dns_subdomain(own, false) {
                errors.invalid(&at.child("name"), name, &format!("not a valid clustertrustbundlename: {message}"));
            }
            if has(found, "labelSelector") {
                let selector = get(found, "labelSelector").clone();
                errors.invalid(&at.child("labelSelector"), selector, "labelSelector must be unset if name is specified");
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&at.child("signerName"), "must be a valid signer name");
            }
            signer_name(signer, &at.child("signerName"), errors);
            errors.extend(validate::label_selector(get(found, "labelSelector"), &at.child("labelSelector")));
        }
        (None, None) => errors.required(at, "either name or signerName must be specified"),
    }
    rules::required_texts(found, &["path"], at, errors);
    let path = value::text(found, &["path"]);
    local_path(path, &at.child("path"), errors);
    paths.take(path, path, errors);
}

fn certificate<'a>(found: &'a Value, at: &FieldPath, paths: &mut Paths<'a, '_>, errors: &mut FieldErrors) {
    let signer = value::text(found, &["signerName"]);
    signer_name(signer, &at.child("signerName"), errors);
    let ty = value::text(found, &["keyType"]);
    if !KEY_TYPES.contains(&ty) {
        errors.not_supported_in_order(&at.child("keyType"), ty, &KEY_TYPES);
    }
    if let Some(seconds) = value::int(found, &["maxExpirationSeconds"]) {
        let here = at.child("maxExpirationSeconds");
        if seconds < 3600 {
            errors.invalid(&here, seconds, "if provided, maxExpirationSeconds must be >= 3600");
        }
        let own = signer.split('/').next().is_some_and(|domain| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"));
        let most = if own { DAY } else { 91 * DAY };
        if seconds > most {
            errors.invalid(&here, seconds, &format!("if provided, maxExpirationSeconds must be <= {most}"));
        }
    }
    let given = ["credentialBundlePath", "keyPath", "certificateChainPath"].map(|name| (name, value::text(found, &[name])));
    for (name, path) in given.into_iter().filter(|(_, path)| !path.is_empty()) {
        local_path(path, &at.child(name), errors);
        paths.take(path, path, errors);
    }
    if given.iter().all(|(_, path)| path.is_empty()) {
        errors.required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
}

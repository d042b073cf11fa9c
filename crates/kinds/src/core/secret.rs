//! Data that should not be shown.

use super::config_map::{MAX_SIZE, entries, immutable, keys};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct Secret;

/// Plain text is stored as data, over what data says.
fn take_string_data(object: &mut Value) {
    if let Some(Value::Object(plain)) = value::remove(object, &["stringData"]) {
        for (key, text) in plain {
            value::set(object, &["data", &key], STANDARD.encode(text.as_str().unwrap_or("")));
        }
    }
}

impl Kind for Secret {
    built_in!("io.k8s.api.core.v1.Secret", Names::new("", "v1", "Secret", "secrets", Scope::Namespaced));

    fn default(&self, object: &mut Value) {
        take_string_data(object);
        value::default(object, &["type"], "Opaque");
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        keys(object, "data", &mut errors);
        let size: usize = entries(object, "data").map(|(_, v)| v.as_str().map_or(0, |s| s.len() / 4 * 3)).sum();
        if size > MAX_SIZE {
            errors.too_long(&path("data"), MAX_SIZE);
        }
        let decoded = |key: &str| get(object, "data").get(key).and_then(Value::as_str).and_then(|s| STANDARD.decode(s).ok());
        let mut required = |names: &[&str]| {
            for name in names {
                if decoded(name).is_none() {
                    errors.required(&path("data").key(name), "");
                }
            }
        };
        match value::text(object, &["type"]) {
            "kubernetes.io/service-account-token"
                if value::text(object, &["metadata", "annotations", "kubernetes.io/service-account.name"]).is_empty() =>
            {
                errors.required(&path("metadata.annotations").key("kubernetes.io/service-account.name"), "");
            }
            "kubernetes.io/dockercfg" => json_entry(decoded(".dockercfg"), ".dockercfg", &mut errors),
            "kubernetes.io/dockerconfigjson" => json_entry(decoded(".dockerconfigjson"), ".dockerconfigjson", &mut errors),
            "kubernetes.io/basic-auth" if decoded("username").is_none() && decoded("password").is_none() => {
                required(&["username", "password"])
            }
            "kubernetes.io/ssh-auth" => required(&["ssh-privatekey"]),
            "kubernetes.io/tls" => required(&["tls.crt", "tls.key"]),
            _ => {}
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "type"), get(old, "type"), &path("type"), &mut errors);
        immutable(new, old, &["data"], &mut errors);
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["type".into()]
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Type", "string"), Column::new("Data", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["type"]), entries(object, "data").count().into(), table::age(object, now).into()]
    }
}

fn json_entry(found: Option<Vec<u8>>, key: &str, errors: &mut FieldErrors) {
    let at = path("data").key(key);
    match found {
        None => errors.required(&at, ""),
        Some(bytes) if serde_json::from_slice::<Value>(&bytes).is_err() => {
            errors.invalid(&at, "<secret contents redacted>", "invalid JSON")
        }
        Some(_) => {}
    }
}

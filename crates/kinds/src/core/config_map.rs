//! Configuration as keys and values.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Map, Value};

pub struct ConfigMap;

/// The most bytes that keys and values may come to (`MaxSecretSize`).
pub(super) const MAX_SIZE: usize = 1 << 20;

pub(super) fn entries<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    get(object, name).as_object().into_iter().flat_map(Map::iter)
}

pub(super) fn keys(object: &Value, name: &str, errors: &mut FieldErrors) {
    for (key, _) in entries(object, name) {
        rules::messages(validate::config_map_key(key), key, &path(name).key(key), errors);
    }
}

/// What may change once `immutable` is set: nothing, that flag included.
pub(super) fn immutable(new: &Value, old: &Value, names: &[&str], errors: &mut FieldErrors) {
    if !value::flag(old, &["immutable"]) {
        return;
    }
    if !value::flag(new, &["immutable"]) {
        errors.forbidden(&path("immutable"), "field is immutable when `immutable` is set");
    }
    for name in names {
        if !rules::same(get(new, name), get(old, name)) {
            errors.forbidden(&path(name), "field is immutable when `immutable` is set");
        }
    }
}

impl Kind for ConfigMap {
    built_in!("io.k8s.api.core.v1.ConfigMap", Names::new("", "v1", "ConfigMap", "configmaps", Scope::Namespaced).short(&["cm"]));

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        keys(object, "data", &mut errors);
        keys(object, "binaryData", &mut errors);
        for (key, _) in entries(object, "data") {
            if get(object, "binaryData").get(key).is_some() {
                errors.invalid(&path("data").key(key), key.as_str(), "duplicate of key present in binaryData");
            }
        }
        let size: usize = ["data", "binaryData"].iter().flat_map(|n| entries(object, n)).map(|(_, v)| v.as_str().map_or(0, str::len)).sum();
        if size > MAX_SIZE {
            errors.too_long(&FieldPath::new(""), MAX_SIZE);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        immutable(new, old, &["data", "binaryData"], &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Data", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = entries(object, "data").count() + entries(object, "binaryData").count();
        vec![table::name(object), count.into(), table::age(object, now).into()]
    }
}

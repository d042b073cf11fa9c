//! What the kinds of this group have in common: names, conditions, opaque data.

use crate::core::pod_template::driver_name;
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::collections::HashSet;

/// Of the name of a device, an attribute or a capacity.
const ID_MAX: usize = 32;
const CONDITIONS_MAX: usize = 4;
/// Of parameters and data that only drivers understand.
const RAW_MAX: usize = 10 << 10;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

/// False where there are too many, which then are not looked at one by one.
pub fn few(count: usize, most: usize, at: &FieldPath, errors: &mut FieldErrors) -> bool {
    if count > most {
        errors.too_many(at, count, most);
    }
    count <= most
}

/// No two have the same key.
pub fn unique<K: AsRef<str>>(keys: impl Iterator<Item = K>, at: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = HashSet::new();
    for (i, key) in keys.enumerate() {
        if !seen.insert(key.as_ref().to_string()) {
            errors.duplicate(&at.index(i), key.as_ref());
        }
    }
}

pub fn pool_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
        return;
    }
    if name.len() > 253 {
        errors.too_long(at, 253);
    }
    name.split('/').for_each(|part| rules::dns_subdomain(part, at, errors));
}

pub fn share_id(id: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = id.split('-').collect();
    let form = matches!(parts[..], [a, b, c, d, e] if hex(a, 8) && hex(b, 4) && hex(c, 4) && hex(d, 4) && hex(e, 12));
    if !form {
        errors.invalid(at, id, "error validating uid: invalid UUID format");
    } else if id != id.to_lowercase() {
        let why = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
        errors.invalid(at, id, why);
    }
}

/// `name` or `domain/name`
pub fn qualified(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [name] => identifier(name, at, errors),
        [domain, name] => {
            if domain.is_empty() {
                errors.invalid(at, "", "the domain must not be empty");
            } else {
                driver_name(domain, at, errors);
            }
            if name.is_empty() {
                errors.invalid(at, "", "the name must not be empty");
            } else {
                identifier(name, at, errors);
            }
        }
        _ => {}
    }
}

pub fn fully_qualified(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    qualified(name, at, errors);
    if !name.contains('/') {
        errors.invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn identifier(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.len() > ID_MAX {
        errors.too_long(at, ID_MAX);
    }
    rules::messages(validate::c_identifier(name), name, at, errors);
}

/// `config` entries: who they are for, and what only a driver understands.
pub fn opaque(config: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (found, at) = (get(config, "opaque"), at.child("opaque"));
    if found.is_null() {
        errors.required(&at, "");
        return;
    }
    driver_name(value::text(found, &["driver"]), &at.child("driver"), errors);
    raw(get(found, "parameters"), &at.child("parameters"), errors);
}

pub fn raw(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    match found {
        Value::Null => errors.required(at, ""),
        found if found.to_string().len() > RAW_MAX => errors.too_long(at, RAW_MAX),
        Value::Object(_) => {}
        _ => errors.invalid(at, "<value omitted>", "must be a valid JSON object"),
    }
}

/// What has to happen before a device can be used, and what tells that it will not.
pub fn binding_conditions(of: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let list = |name: &str| value::items(of, &[name]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let (needed, failures) = (list("bindingConditions"), list("bindingFailureConditions"));
    for (name, all) in [("bindingConditions", &needed), ("bindingFailureConditions", &failures)] {
        let here = at.child(name);
        if few(all.len(), CONDITIONS_MAX, &here, errors) {
            for (i, condition) in all.iter().enumerate() {
                rules::messages(validate::qualified_name(condition), condition, &here.index(i), errors);
            }
        }
        unique(all.iter(), &here, errors);
    }
    let here = at.child("bindingFailureConditions");
    for (i, condition) in failures.iter().enumerate().filter(|(_, c)| needed.contains(c)) {
        errors.invalid(&here.index(i), *condition, "bindingFailureConditions must not overlap with bindingConditions");
    }
    if needed.is_empty() && !failures.is_empty() {
        errors.invalid(&at.child("bindingConditions"), needed, "bindingConditions are required to use bindingFailureConditions");
    } else if failures.is_empty() && !needed.is_empty() {
        errors.invalid(&here, failures, "bindingFailureConditions are required to use bindingConditions");
    }
}

pub fn taint(taint: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (key, found) = (value::text(taint, &["key"]), value::text(taint, &["value"]));
    rules::messages(validate::qualified_name(key), key, &at.child("key"), errors);
    rules::messages(validate::label_value(found), found, &at.child("value"), errors);
    rules::one_of(value::text(taint, &["effect"]), &EFFECTS, &at.child("effect"), errors);
}

pub fn toleration(toleration: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let text = |name: &str| value::text(toleration, &[name]);
    if !text("key").is_empty() {
        rules::messages(validate::qualified_name(text("key")), text("key"), &at.child("key"), errors);
    }
    match text("operator") {
        "Exists" if !text("value").is_empty() => errors.invalid(&at.child("value"), text("value"), "must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => rules::messages(validate::label_value(text("value")), text("value"), &at.child("value"), errors),
        "" => errors.required(&at.child("operator"), ""),
        other => errors.not_supported(&at.child("operator"), other, &["Equal", "Exists"]),
    }
    if has(toleration, "effect") && !text("effect").is_empty() && !EFFECTS.contains(&text("effect")) {
        errors.not_supported(&at.child("effect"), text("effect"), &EFFECTS);
    }
}

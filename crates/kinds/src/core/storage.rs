//! What volumes and claims have in common.

use crate::rules;
use meta::{FieldErrors, FieldPath, Quantity, value};
use serde_json::Value;

pub const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// `RWO,ROX`
pub fn modes(holder: &Value) -> String {
    let short = [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| value::items(holder, &["accessModes"]).iter().any(|m| m == mode);
    short.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub fn phase(object: &Value) -> String {
    let going = value::at(object, &["metadata", "deletionTimestamp"]).is_some();
    if going { "Terminating".into() } else { value::text(object, &["status", "phase"]).into() }
}

pub fn class_column(object: &Value) -> String {
    let legacy = value::text(object, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    if legacy.is_empty() { value::text(object, &["spec", "storageClassName"]).into() } else { legacy.into() }
}

pub const LEGACY_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Known ways to share, and the one that excludes all others.
pub fn access_modes(spec: &Value, missing: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let at = at.child("accessModes");
    let modes: Vec<&str> = value::items(spec, &["accessModes"]).iter().filter_map(Value::as_str).collect();
    if modes.is_empty() {
        errors.required(&at, missing);
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.not_supported(&at, *mode, &ACCESS_MODES);
    }
    let alone = |mode: &&str| *mode == "ReadWriteOncePod";
    if modes.iter().any(alone) && modes.iter().any(|m| !alone(m) && ACCESS_MODES.contains(m)) {
        errors.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
}

pub fn quantity(object: &Value, path: &[&str]) -> Option<Quantity> {
    value::at(object, path).and_then(|q| Quantity::from_value(q).ok())
}

/// A class by its name, where there is one.
pub fn class(spec: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let found = value::text(spec, &[name]);
    if !found.is_empty() {
        rules::dns_subdomain(found, &at.child(name), errors);
    }
}

/// Bytes come whole.
pub fn fractions(of: &Value, path: &[&str], shown: &FieldPath) -> Option<String> {
    let amount = value::at(of, path)?;
    let odd = Quantity::from_value(amount).is_ok_and(|q| q.milli_value() % 1000 != 0);
    odd.then(|| format!("{shown}: fractional byte value {amount} is invalid, must be an integer"))
}

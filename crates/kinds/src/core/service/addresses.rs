//! The addresses of a Service and their families.

use super::validate::is_headless;
use crate::rules::{self, get, has, path};
use meta::{FieldErrors, validate as check, value};
use serde_json::Value;

fn texts<'a>(spec: &'a Value, name: &str) -> Vec<&'a str> {
    value::items(spec, &[name]).iter().filter_map(Value::as_str).collect()
}

pub fn validate(spec: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if value::text(spec, &["type"]) == "ExternalName" {
        return errors;
    }
    let (ips_at, families_at) = (path("spec.clusterIPs"), path("spec.ipFamilies"));
    let (ip, ips, families) = (value::text(spec, &["clusterIP"]), texts(spec, "clusterIPs"), texts(spec, "ipFamilies"));
    match (ip, ips.first()) {
        ("", Some(_)) => errors.invalid(&ips_at, ips.clone(), "must be empty when `clusterIP` is not specified"),
        (ip, Some(first)) if ip != *first => errors.invalid(&ips_at, ips.clone(), "first value must match `clusterIP`"),
        _ => {}
    }
    for (i, family) in families.iter().enumerate() {
        if !["IPv4", "IPv6"].contains(family) {
            errors.not_supported(&families_at.index(i), *family, &["IPv4", "IPv6"]);
        }
        if families[..i].contains(family) {
            errors.duplicate(&families_at.index(i), *family);
        }
    }
    rules::known(spec, "ipFamilyPolicy", &["PreferDualStack", "RequireDualStack", "SingleStack"], &path("spec"), &mut errors);
    let mut wrong = false;
    for (i, ip) in ips.iter().enumerate() {
        if i == 0 && *ip == "None" {
            if ips.len() > 1 {
                wrong = true;
                errors.invalid(&ips_at, ips.clone(), "'None' must be the first and only value");
            }
            continue;
        }
        let messages = check::legacy_ip(ip);
        wrong |= !messages.is_empty();
        rules::messages(messages, ip, &ips_at.index(i), &mut errors);
    }
    if ips.len() > 2 {
        errors.invalid(&ips_at, ips.clone(), "may only hold up to 2 values");
    }
    if wrong {
        return errors;
    }
    let is_sixth = |ip: &str| ip.contains(':');
    if ips.len() > 1 && ips.iter().filter(|ip| is_sixth(ip)).count() != 1 {
        errors.invalid(&ips_at, ips.clone(), "may specify no more than one IP for each IP family");
    }
    if !is_headless(spec) {
        for (i, (ip, family)) in ips.iter().zip(&families).enumerate() {
            if (*family == "IPv4" && is_sixth(ip)) || (*family == "IPv6" && !is_sixth(ip)) {
                errors.invalid(&ips_at.index(i), *ip, &format!("expected an {family} value as indicated by `ipFamilies[{i}]`"));
            }
        }
    }
    errors
}

/// What was given out stays, but for a second address that comes or goes.
pub fn update(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let ty = |spec: &Value| value::text(spec, &["type"]).to_string();
    if ty(new) == "ExternalName" || ty(old) == "ExternalName" {
        return errors;
    }
    let headless = (is_headless(new), is_headless(old));
    if headless != (true, true) {
        changed(new, old, "clusterIPs", "clusterIP", &mut errors);
    }
    if headless == (false, false) {
        changed(new, old, "ipFamilies", "ipFamily", &mut errors);
    }
    errors
}

fn changed(new: &Value, old: &Value, list: &str, one: &str, errors: &mut FieldErrors) {
    let (after, before) = (texts(new, list), texts(old, list));
    let at = path("spec").child(list);
    let shown = || Value::from(after.clone());
    let once = "may not change once set";
    if after.len() == before.len() {
        for (i, _) in after.iter().zip(&before).enumerate().filter(|(_, (a, b))| a != b) {
            errors.invalid(&at.index(if list == "clusterIPs" { i } else { 0 }), shown(), once);
        }
        return;
    }
    if after.is_empty() {
        return errors.invalid(&at.index(0), shown(), &format!("primary {one} can not be unset"));
    }
    if before.first().is_some_and(|first| after.first() != Some(first)) {
        errors.invalid(&at.index(0), shown(), once);
    }
    if before.len() > after.len() && after.len() == 1 && value::text(new, &["ipFamilyPolicy"]) != "SingleStack" {
        let policy = if has(new, "ipFamilyPolicy") { get(new, "ipFamilyPolicy").clone() } else { Value::Null };
        let why = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.invalid(&path("spec.ipFamilyPolicy"), policy, &why);
    }
}

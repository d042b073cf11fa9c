//! Checks that many kinds share, in upstream's words.

use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub const IMMUTABLE: &str = "field is immutable";

pub fn path(path: &str) -> FieldPath {
    FieldPath::new(path)
}

/// A field of `object`, or null.
pub fn get<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// Each named number of `object` must not be negative, where it is set.
pub fn not_negative(object: &Value, names: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    for name in names {
        if let Some(number) = value::int(object, &[name])
            && number < 0
        {
            errors.invalid(&path.child(name), number, NOT_NEGATIVE);
        }
    }
}

/// The first number must not be greater than the second.
pub fn not_greater(object: &Value, name: &str, than: &str, path: &FieldPath, message: &str, errors: &mut FieldErrors) {
    let number = |name: &str| value::int(object, &[name]).unwrap_or(0);
    if number(name) > number(than) {
        errors.invalid(&path.child(name), number(name), message);
    }
}

/// Absent, null, and empty containers are the same to upstream's comparison.
pub fn same(a: &Value, b: &Value) -> bool {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    a == b || (empty(a) && empty(b))
}

pub fn immutable(new: &Value, old: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    if !same(new, old) {
        errors.invalid(path, new.clone(), IMMUTABLE);
    }
}

/// `names` are fields of the two objects.
pub fn immutable_fields(new: &Value, old: &Value, names: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    for name in names {
        immutable(get(new, name), get(old, name), &path.child(name), errors);
    }
}

/// A status counter that only grows.
pub fn not_decremented(new: &Value, old: &Value, name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(before) = value::int(old, &[name]) {
        let now = value::int(new, &[name]).unwrap_or(0);
        if now < before {
            errors.invalid(&path.child(name), now, "cannot be decremented");
        }
    }
}

pub fn messages(messages: Vec<String>, found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    for message in messages {
        errors.invalid(path, found, &message);
    }
}

/// One of a few words; an empty one is required instead where `required`.
pub fn one_of(found: &str, allowed: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    if found.is_empty() {
        errors.required(path, "");
    } else if !allowed.contains(&found) {
        errors.not_supported(path, found, allowed);
    }
}

pub fn positive_int_or_percent(found: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    match found {
        Value::String(text) => messages(validate::percent(text), text, path, errors),
        Value::Number(number) if number.as_i64().is_some_and(|n| n < 0) => errors.invalid(path, found.clone(), NOT_NEGATIVE),
        _ => {}
    }
}

fn percent(found: &Value) -> Option<i64> {
    found.as_str()?.strip_suffix('%')?.parse().ok()
}

pub fn int_or_percent(found: &Value) -> i64 {
    percent(found).or(found.as_i64()).unwrap_or(0)
}

pub fn not_more_than_100_percent(found: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    if percent(found).is_some_and(|p| p > 100) {
        errors.invalid(path, found.clone(), "must not be greater than 100%");
    }
}

/// An `IntOrString` as Go prints it.
pub fn int_or_string(found: &Value) -> String {
    match found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `metav1.Condition` lists need no more than unique, well-formed types.
pub fn conditions(conditions: &[Value], path: &FieldPath, errors: &mut FieldErrors) {
    for (i, condition) in conditions.iter().enumerate() {
        let at = path.index(i);
        let ty = value::text(condition, &["type"]);
        if ty.is_empty() {
            errors.required(&at.child("type"), "must be set");
        }
        match value::text(condition, &["status"]) {
            "" => errors.required(&at.child("status"), "must be set"),
            "True" | "False" | "Unknown" => {}
            other => errors.not_supported(&at.child("status"), other, &["False", "True", "Unknown"]),
        }
        not_negative(condition, &["observedGeneration"], &at, errors);
        if value::text(condition, &["lastTransitionTime"]).is_empty() {
            errors.required(&at.child("lastTransitionTime"), "must be set");
        }
        if value::text(condition, &["reason"]).is_empty() {
            errors.required(&at.child("reason"), "must be set");
        }
        if conditions[..i].iter().any(|c| value::text(c, &["type"]) == ty) {
            errors.duplicate(&at.child("type"), ty);
        }
    }
}

/// Whether a field of `object` is there at all.
pub fn has(object: &Value, name: &str) -> bool {
    !get(object, name).is_null()
}

/// The named texts of `object` must not be empty.
pub fn required_texts(object: &Value, names: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    for name in names.iter().filter(|name| value::text(object, &[name]).is_empty()) {
        errors.required(&path.child(name), "");
    }
}

/// A number of `object` is within bounds, where it is set.
pub fn within(object: &Value, name: &str, from: i64, to: i64, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(number) = value::int(object, &[name]).filter(|n| !(from..=to).contains(n)) {
        errors.invalid(&path.child(name), number, &format!("must be between {from} and {to}, inclusive"));
    }
}

/// One of a few words, where it is set.
pub fn known(object: &Value, name: &str, allowed: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(found) = get(object, name).as_str().filter(|found| !allowed.contains(found)) {
        errors.not_supported(&path.child(name), found, allowed);
    }
}

pub fn dns_label(found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    messages(validate::dns_label(found, false), found, path, errors);
}

pub fn dns_subdomain(found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    messages(validate::dns_subdomain(found, false), found, path, errors);
}

/// No way up, and not from the root.
pub fn descending_path(found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if found.starts_with('/') {
        errors.invalid(path, found, "must be a relative path");
    }
    no_backsteps(found, path, errors);
}

pub fn no_backsteps(found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if found.split('/').any(|step| step == "..") {
        errors.invalid(path, found, "must not contain '..'");
    }
}

/// A port by its number or its name.
pub fn port(found: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    match found {
        Value::String(name) => messages(validate::port_name(name), name, path, errors),
        other => {
            let number = other.as_i64().unwrap_or(0);
            for message in validate::port_number(number) {
                errors.invalid(path, number, &message);
            }
        }
    }
}

/// An address that traffic can be sent to from elsewhere.
pub fn endpoint_ip(found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    use std::net::IpAddr;
    let Some(ip) = validate::sloppy_ip(found) else {
        errors.invalid(path, found, "must be a valid IP address");
        return;
    };
    let mut refuse = |why: &str| errors.invalid(path, found, why);
    if ip.is_unspecified() {
        refuse(&format!("may not be unspecified ({found})"));
    }
    if ip.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link, multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), matches!(v4.octets(), [224, 0, 0, _])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if link {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// An address that is understood, and should be written otherwise.
pub fn ip_warnings(found: &str, path: &FieldPath) -> Option<String> {
    let plain = validate::sloppy_ip(found)?;
    match found.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() => (plain.to_string() != found)
            .then(|| format!("{path}: IPv6 address {found:?} should be in RFC 5952 canonical format ({:?})", ip.to_string())),
        Ok(std::net::IpAddr::V4(_)) => None,
        _ => Some(format!("{path}: non-standard IP address {found:?} is invalid: use {:?}", plain.to_canonical().to_string())),
    }
}

/// The entries of a map of texts.
pub fn texts<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    value::at(object, path).and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
}

/// An invalid value that is not repeated in the message.
pub fn invalid_unquoted(path: &FieldPath, detail: &str, errors: &mut FieldErrors) {
    errors.0.push(meta::FieldError {
        kind: meta::field::FieldErrorType::Invalid,
        path: path.clone(),
        body: format!("Invalid value: {detail}"),
    });
}

/// `acme.io/foo`
pub fn domain_prefixed_path(found: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if found.is_empty() {
        errors.required(path, "");
        return;
    }
    let Some((host, rest)) = found.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) else {
        errors.invalid(path, found, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    messages(validate::dns_subdomain(host, false), host, path, errors);
    if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        errors.invalid(path, rest, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
    }
}

/// The status of the condition of a type, or an empty text.
pub fn condition<'a>(object: &'a Value, ty: &str) -> &'a str {
    let conditions = value::items(object, &["status", "conditions"]);
    conditions.iter().find(|c| value::text(c, &["type"]) == ty).map_or("", |c| value::text(c, &["status"]))
}

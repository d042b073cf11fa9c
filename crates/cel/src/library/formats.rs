//! Named formats of text: `format.dns1123Label().validate(name)`.

use super::Opaque;
use super::url;
use crate::error::EvalError;
use crate::functions::{Function, T, function, of, on};
use crate::time;
use crate::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::validate;

pub const FORMAT: &str = "kubernetes.NamedFormat";
pub const NAMES: &[&str] = &[FORMAT];
const F: T = T::Opaque(FORMAT);

type Done<'a> = Result<Value<'a>, EvalError>;

#[derive(Debug)]
pub struct Format {
    name: &'static str,
    /// How long the pattern is that it stands for.
    pub pattern: u64,
    problems: fn(&str) -> Vec<String>,
}

const fn named(name: &'static str, pattern: u64, problems: fn(&str) -> Vec<String>) -> Format {
    Format { name, pattern, problems }
}

static ALL: [Format; 13] = [
    named("dns1123Label", 30, |t| validate::dns_label(t, false)),
    named("dns1123Subdomain", 60, |t| validate::dns_subdomain(t, false)),
    named("dns1035Label", 30, |t| validate::dns1035_label(t, false)),
    named("qualifiedName", 60, validate::qualified_name),
    named("dns1123LabelPrefix", 30, |t| validate::dns_label(t, true)),
    named("dns1123SubdomainPrefix", 60, |t| validate::dns_subdomain(t, true)),
    named("dns1035LabelPrefix", 30, |t| validate::dns1035_label(t, true)),
    named("labelValue", 40, validate::label_value),
    named("uri", 1103, |t| url::parse(t).err().map(|why| format!("parse {t:?}: {why}")).into_iter().collect()),
    named("uuid", 89, |t| problem(is_uuid(t), "does not match the UUID format")),
    named("byte", 84, |t| problem(STANDARD.decode(t).is_ok(), "invalid base64")),
    named("date", 110, |t| problem(t.len() == 10 && time::timestamp(t).is_some(), "invalid date")),
    named("datetime", 110, |t| problem(time::timestamp(t).is_some(), "invalid datetime")),
];

fn problem(right: bool, words: &str) -> Vec<String> {
    if right { Vec::new() } else { vec![words.into()] }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str| part.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12]) || (parts.len() == 1 && text.len() == 32)) && parts.iter().all(hex)
}

fn find<'a>(name: &str) -> Option<Value<'a>> {
    ALL.iter().find(|format| format.name == name).map(|format| Value::Opaque(Opaque::Format(format)))
}

/// The function of a format's own name.
macro_rules! constant {
    ($name:literal) => {
        function(concat!("format.", $name), &[of(&[], F)], |_| find($name).ok_or_else(EvalError::overload))
    };
}

pub const FUNCTIONS: &[Function] = &[
    constant!("dns1123Label"),
    constant!("dns1123Subdomain"),
    constant!("dns1035Label"),
    constant!("qualifiedName"),
    constant!("dns1123LabelPrefix"),
    constant!("dns1123SubdomainPrefix"),
    constant!("dns1035LabelPrefix"),
    constant!("labelValue"),
    constant!("uri"),
    constant!("uuid"),
    constant!("byte"),
    constant!("date"),
    constant!("datetime"),
    function("format.named", &[of(&[T::String], T::Optional(&F))], |args| match args {
        [Value::String(name)] => Ok(find(name.as_str()).map_or_else(Value::none, Value::some)),
        _ => Err(EvalError::overload()),
    }),
    function("validate", &[on(&[F, T::String], T::Optional(&T::List(&T::String)))], check),
];

fn check<'a>(args: &[Value<'a>]) -> Done<'a> {
    let [Value::Opaque(Opaque::Format(format)), Value::String(text)] = args else { return Err(EvalError::overload()) };
    let problems = (format.problems)(text.as_str());
    if problems.is_empty() {
        return Ok(Value::none());
    }
    Ok(Value::some(problems.into_iter().map(Value::from).collect::<Vec<_>>().into()))
}

//! URLs that are absolute, or paths, and their parts.

use super::Opaque;
use crate::error::EvalError;
use crate::functions::{Function, T, function, of, on};
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const URL: &str = "kubernetes.URL";
pub const NAMES: &[&str] = &[URL];
const U: T = T::Opaque(URL);

type Done<'a> = Result<Value<'a>, EvalError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

pub const FUNCTIONS: &[Function] = &[
    function("url", &[of(&[T::String], U)], |args| match args {
        [Value::String(text)] => match parse(text.as_str()) {
            Ok(url) => Ok(Value::Opaque(Opaque::Url(Arc::new(url)))),
            Err(why) => Err(EvalError::failed(format!("URL parse error during conversion from string: parse {:?}: {why}", text.as_str()))),
        },
        _ => Err(EvalError::overload()),
    }),
    function("isURL", &[of(&[T::String], T::Bool)], |args| match args {
        [Value::String(text)] => Ok(Value::Bool(parse(text.as_str()).is_ok())),
        _ => Err(EvalError::overload()),
    }),
    function("getScheme", &[on(&[U], T::String)], |args| with(args, |url| url.scheme.clone().into())),
    function("getHost", &[on(&[U], T::String)], |args| with(args, |url| url.host.clone().into())),
    function("getHostname", &[on(&[U], T::String)], |args| {
        with(args, |url| name_and_port(&url.host).0.trim_matches(['[', ']']).to_string().into())
    }),
    function("getPort", &[on(&[U], T::String)], |args| with(args, |url| name_and_port(&url.host).1.to_string().into())),
    function("getEscapedPath", &[on(&[U], T::String)], |args| with(args, |url| escaped(&url.path).into())),
    function("getQuery", &[on(&[U], T::Map(&T::String, &T::List(&T::String)))], |args| with(args, query)),
];

fn with<'a>(args: &[Value<'a>], read: impl FnOnce(&Url) -> Value<'a>) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Url(url))] => Ok(read(url)),
        _ => Err(EvalError::overload()),
    }
}

/// What stands in a request: a scheme and more, or a path from the root.
pub fn parse(text: &str) -> Result<Url, String> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() {
        return Err("empty url".into());
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        if scheme.is_empty() {
            return Err("invalid URI for request".into());
        }
        // Opaque, as a mail address is.
        return Err("invalid URI for request".into());
    }
    let (host, path) = match rest.strip_prefix("//") {
        Some(after) if !scheme.is_empty() => {
            let end = after.find('/').unwrap_or(after.len());
            (&after[..end], &after[end..])
        }
        _ => ("", rest),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    check_host(host)?;
    check_escapes(path)?;
    Ok(Url { scheme: scheme.to_lowercase(), host: host.into(), path: path.into(), query: query.into(), fragment: fragment.into() })
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = name_and_port(host);
    if let Some(inner) = name.strip_prefix('[') {
        if !inner.ends_with(']') {
            return Err("missing ']' in host".into());
        }
    } else if let Some(bad) = name.chars().find(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return Err(format!("invalid character {bad:?} in host name"));
    }
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("invalid port {:?} after host", format!(":{port}")));
    }
    check_escapes(name)
}

fn check_escapes(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3);
        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}

fn name_and_port(host: &str) -> (&str, &str) {
    let end = host.rfind(']').map_or(0, |at| at + 1);
    match host[end..].rfind(':') {
        Some(at) => (&host[..end + at], &host[end + at + 1..]),
        None => (host, ""),
    }
}

fn escaped(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*%[]".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                out.push((digit()? * 16 + digit()?) as u8);
            }
            b => out.push(b),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn query<'a>(url: &Url) -> Value<'a> {
    let mut all: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for part in url.query.split('&').filter(|part| !part.is_empty() && !part.contains(';')) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if let (Some(key), Some(value)) = (unescaped(key), unescaped(value)) {
            all.entry(key).or_default().push(value.into());
        }
    }
    Value::map(all.into_iter().map(|(key, values)| (key, Value::from(values))))
}

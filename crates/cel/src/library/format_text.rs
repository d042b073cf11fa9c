//! `'%s is %d'.format([...])`.

use super::standard::text_of;
use crate::error::EvalError;
use crate::evaluate::work;
use crate::time;
use crate::value::{List, Map, Value};
use std::fmt::Write;

/// How deep lists and maps may be nested that are printed, and how many digits a fraction may have.
const DEPTH: usize = 64;
const PRECISION: usize = 100;

pub fn format<'a>(pattern: &str, args: &List<'a>) -> Result<Value<'a>, EvalError> {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let arg = args.get(next).ok_or_else(|| EvalError::failed(format!("index {next} out of range")))?;
        next += 1;
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision =
                Some(digits.parse::<usize>().ok().filter(|p| *p <= PRECISION).ok_or_else(|| EvalError::failed("invalid precision"))?);
        }
        let verb = chars.next().ok_or_else(|| EvalError::failed("unexpected end of string"))?;
        clause(verb, precision, &arg, &mut out)?;
    }
    Ok(out.into())
}

fn wrong(verb: &str, arg: &Value, allowed: &str) -> EvalError {
    let name = arg.type_name();
    EvalError::failed(format!("error during formatting: {verb} clause can only be used on {allowed}, was given {name}"))
}

fn clause(verb: char, precision: Option<usize>, arg: &Value, out: &mut String) -> Result<(), EvalError> {
    let written = match (verb, arg) {
        ('s', arg) => return show(arg, out, 0),
        ('d', Value::Int(v)) => write!(out, "{v}"),
        ('d', Value::Uint(v)) => write!(out, "{v}"),
        ('d', Value::Double(v)) if !v.is_finite() => return show(arg, out, 0),
        ('d', other) => return Err(wrong("decimal", other, "integers")),
        ('f' | 'e', Value::Double(v)) if !v.is_finite() => return show(arg, out, 0),
        ('f', number) => {
            write!(out, "{:.*}", precision.unwrap_or(6), double(number).ok_or_else(|| wrong("fixed-point", number, "doubles"))?)
        }
        ('e', number) => {
            let value = double(number).ok_or_else(|| wrong("scientific", number, "doubles"))?;
            let text = format!("{value:.*e}", precision.unwrap_or(6));
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let raised: String = format!("{:02}", exponent.abs()).chars().map(superscript).collect();
            write!(out, "{digits}×10{}{raised}", if exponent < 0 { "⁻" } else { "" })
        }
        ('b', Value::Int(v)) => write!(out, "{}{:b}", sign(*v), v.unsigned_abs()),
        ('b', Value::Uint(v)) => write!(out, "{v:b}"),
        ('b', Value::Bool(v)) => write!(out, "{}", u8::from(*v)),
        ('b', other) => return Err(wrong("binary", other, "integers and bools")),
        ('o', Value::Int(v)) => write!(out, "{}{:o}", sign(*v), v.unsigned_abs()),
        ('o', Value::Uint(v)) => write!(out, "{v:o}"),
        ('o', other) => return Err(wrong("octal", other, "integers")),
        ('x' | 'X', other) => {
            let text = match other {
                Value::Int(v) => format!("{}{:x}", sign(*v), v.unsigned_abs()),
                Value::Uint(v) => format!("{v:x}"),
                Value::String(text) => text.as_str().bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
                other => return Err(wrong("hexadecimal", other, "integers, byte buffers, and strings")),
            };
            out.push_str(&if verb == 'X' { text.to_uppercase() } else { text });
            Ok(())
        }
        (other, _) => {
            return Err(EvalError::failed(format!("could not parse formatting clause: unrecognized formatting clause \"{other}\"")));
        }
    };
    written.map_err(|_| EvalError::failed("could not format"))
}

fn superscript(digit: char) -> char {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    digit.to_digit(10).map_or(digit, |d| DIGITS[d as usize])
}

fn sign(value: i64) -> &'static str {
    if value < 0 { "-" } else { "" }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(v) => Some(*v),
        Value::Int(v) => Some(*v as f64),
        Value::Uint(v) => Some(*v as f64),
        _ => None,
    }
}

fn show(value: &Value, out: &mut String, depth: usize) -> Result<(), EvalError> {
    work::spend(1)?;
    if depth > DEPTH {
        return Err(EvalError::failed("nested too deeply to be formatted"));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Type(name) => out.push_str(name),
        Value::Double(v) if v.is_infinite() => out.push_str(if *v > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Double(v) if depth > 0 => out.push_str(&format!("{v:.6}")),
        Value::String(text) if depth > 0 => {
            work::spend(text.as_str().len() as u64)?;
            out.push_str(&super::strings::quote(text.as_str()));
        }
        Value::Duration(nanos) => out.push_str(&time::show_duration(*nanos)),
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                show(&item, out, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => show_map(map, out, depth)?,
        Value::Optional(_) | Value::Opaque(_) | Value::Lazy(_) => {
            return Err(wrong("string", value, "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"));
        }
        other => {
            let text = text_of(other).ok_or_else(EvalError::overload)?;
            work::spend(text.len() as u64)?;
            out.push_str(&text);
        }
    }
    Ok(())
}

/// In the order of the keys.
fn show_map(map: &Map, out: &mut String, depth: usize) -> Result<(), EvalError> {
    let mut entries = Vec::new();
    for (key, value) in map.entries() {
        let mut text = String::new();
        show(&key, &mut text, depth + 1)?;
        entries.push((text, value));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        out.push_str(key);
        out.push_str(": ");
        show(value, out, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

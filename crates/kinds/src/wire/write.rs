//! To the wire. As upstream's generated code does it: by ascending number, zeros of what is no pointer included.

use super::table::{self, Field, Form, Kind, Message};
use super::{DEPTH, MAGIC, WireError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, WireError>;

pub fn envelope(object: &Value) -> Result<Vec<u8>> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let unknown = || WireError::UnknownKind { api_version: api_version.into(), kind: kind.into() };
    let message = table::of(api_version, kind).ok_or_else(unknown)?;
    let mut names = Vec::new();
    bytes(1, api_version.as_bytes(), &mut names);
    bytes(2, kind.as_bytes(), &mut names);
    let mut raw = Vec::new();
    fields(message, object, "", 0, &mut raw)?;
    let mut out = MAGIC.to_vec();
    bytes(1, &names, &mut out);
    bytes(2, &raw, &mut out);
    bytes(3, b"", &mut out);
    bytes(4, b"", &mut out);
    Ok(out)
}

/// A `WatchEvent` around an object that is encoded already.
pub fn event(ty: &str, object: &[u8]) -> Vec<u8> {
    let (mut held, mut out) = (Vec::new(), Vec::new());
    bytes(1, object, &mut held);
    bytes(1, ty.as_bytes(), &mut out);
    bytes(2, &held, &mut out);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(number: u32, held: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 2, out);
    varint(held.len() as u64, out);
    out.extend_from_slice(held);
}

fn int(number: u32, value: i64, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3, out);
    varint(value.cast_unsigned(), out);
}

fn fields(message: &Message, object: &Value, name: &'static str, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth > DEPTH {
        return Err(WireError::Depth);
    }
    let Value::Object(map) = object else { return Err(WireError::Mismatch { field: name }) };
    for field in &message.fields {
        write(field, object, map, depth + 1, out)?;
    }
    Ok(())
}

fn write(field: &Field, object: &Value, map: &Map<String, Value>, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    let mismatch = || WireError::Mismatch { field: field.name };
    if let (true, Kind::Message(index)) = (field.inline, field.kind) {
        let mut held = Vec::new();
        fields(table::message(index), object, field.name, depth, &mut held)?;
        bytes(field.number, &held, out);
        return Ok(());
    }
    let held = map.get(field.name).filter(|value| !value.is_null());
    match (field.form, held) {
        (Form::Single, Some(held)) => value(field, field.number, held, depth, out),
        (Form::Single, None) if !field.pointer => zero(field, field.number, depth, out),
        (_, None) => Ok(()),
        (Form::List, Some(list)) => {
            list.as_array().ok_or_else(mismatch)?.iter().try_for_each(|item| value(field, field.number, item, depth, out))
        }
        (Form::Map, Some(map)) => {
            let mut entries: Vec<_> = map.as_object().ok_or_else(mismatch)?.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, held) in entries {
                let mut entry = Vec::new();
                bytes(1, key.as_bytes(), &mut entry);
                value(field, 2, held, depth, &mut entry)?;
                bytes(field.number, &entry, out);
            }
            Ok(())
        }
    }
}

fn zero(field: &Field, number: u32, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    match field.kind {
        Kind::Bytes => return Ok(()),
        Kind::Int | Kind::Bool => int(number, 0, out),
        Kind::Double => double(number, 0.0, out),
        Kind::Message(index) => {
            let mut held = Vec::new();
            fields(table::message(index), &Value::Object(Map::new()), field.name, depth, &mut held)?;
            bytes(number, &held, out);
        }
        Kind::Quantity => return value(field, number, &"0".into(), depth, out),
        Kind::IntOrString => return value(field, number, &0.into(), depth, out),
        _ => bytes(number, b"", out),
    }
    Ok(())
}

fn double(number: u32, value: f64, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn value(field: &Field, number: u32, held: &Value, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if held.is_null() {
        return zero(field, number, depth, out);
    }
    let mismatch = || WireError::Mismatch { field: field.name };
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(mismatch);
    let texts = |value: &Value, number: u32, out: &mut Vec<u8>| {
        value.as_array().ok_or_else(mismatch)?.iter().try_for_each(|item| text(item).map(|item| bytes(number, item.as_bytes(), out)))
    };
    let schema = |value: &Value, number: u32, out: &mut Vec<u8>| -> Result<()> {
        let mut inner = Vec::new();
        fields(table::schema_props(), value, field.name, depth, &mut inner)?;
        bytes(number, &inner, out);
        Ok(())
    };
    let mut inner = Vec::new();
    match field.kind {
        Kind::String => inner = text(held)?.into_bytes(),
        Kind::Int => return held.as_i64().map(|value| int(number, value, out)).ok_or_else(mismatch),
        Kind::Bool => return held.as_bool().map(|set| int(number, set.into(), out)).ok_or_else(mismatch),
        Kind::Double => return held.as_f64().map(|value| double(number, value, out)).ok_or_else(mismatch),
        Kind::Bytes => inner = STANDARD.decode(text(held)?).map_err(|_| mismatch())?,
        Kind::Message(index) => fields(table::message(index), held, field.name, depth, &mut inner)?,
        Kind::Time | Kind::MicroTime => {
            let time = meta::time::parse(&text(held)?).map_err(|_| mismatch())?;
            int(1, time.as_second(), &mut inner);
            let nanos = if field.kind == Kind::MicroTime { time.subsec_nanosecond() / 1000 * 1000 } else { 0 };
            int(2, nanos.into(), &mut inner);
        }
        Kind::Quantity => {
            let quantity = held.as_str().map_or_else(|| held.to_string(), str::to_owned);
            bytes(1, quantity.as_bytes(), &mut inner);
        }
        Kind::IntOrString => {
            int(1, held.is_string().into(), &mut inner);
            int(2, held.as_i64().unwrap_or_default(), &mut inner);
            bytes(3, held.as_str().unwrap_or_default().as_bytes(), &mut inner);
        }
        Kind::Wrapped => texts(held, 1, &mut inner)?,
        Kind::Raw | Kind::Json => bytes(1, held.to_string().as_bytes(), &mut inner),
        Kind::SchemaOrArray | Kind::SchemaOrStrings if held.is_object() => schema(held, 1, &mut inner)?,
        Kind::SchemaOrArray => {
            held.as_array().ok_or_else(mismatch)?.iter().try_for_each(|item| schema(item, 2, &mut inner))?;
        }
        Kind::SchemaOrStrings => texts(held, 2, &mut inner)?,
        Kind::SchemaOrBool => {
            int(1, held.as_bool().unwrap_or(true).into(), &mut inner);
            if held.is_object() {
                schema(held, 2, &mut inner)?;
            }
        }
    }
    bytes(number, &inner, out);
    Ok(())
}

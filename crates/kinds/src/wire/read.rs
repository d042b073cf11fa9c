//! From the wire. What JSON leaves out when it is zero is left out here too.

use super::table::{self, Field, Form, Kind, Message};
use super::{DEPTH, MAGIC, WireError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

type Result<T> = std::result::Result<T, WireError>;

/// What a field holds before its kind is known.
#[derive(Clone, Copy)]
enum Item<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of one message in the order of the wire.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (i, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.0.len() < 10 { WireError::Truncated } else { WireError::Illegal("integer overflow") })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u32, Item<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0).ok_or(WireError::Illegal("field number"))?;
        let item = match tag & 7 {
            0 => Item::Varint(self.varint()?),
            1 => Item::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| WireError::Truncated)?)),
            2 => {
                let length = self.varint()?;
                Item::Bytes(self.take(length)?)
            }
            5 => Item::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| WireError::Truncated)?)),
            _ => return Err(WireError::Illegal("wire type")),
        };
        Ok(Some((number, item)))
    }
}

impl<'a> Item<'a> {
    fn bytes(self) -> Result<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(WireError::Illegal("wire type")) }
    }

    fn int(self) -> Result<i64> {
        if let Self::Varint(value) = self { Ok(value.cast_signed()) } else { Err(WireError::Illegal("wire type")) }
    }

    fn double(self) -> Result<f64> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(WireError::Illegal("wire type")),
        }
    }

    fn text(self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| WireError::Illegal("text is not UTF-8"))
    }
}

pub fn envelope(bytes: &[u8], depth: usize) -> Result<Value> {
    let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or(WireError::Magic)?);
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, item)) = reader.next()? {
        match number {
            1 => {
                let mut names = Reader(item.bytes()?);
                while let Some((number, item)) = names.next()? {
                    match number {
                        1 => api_version = item.text()?,
                        2 => kind = item.text()?,
                        _ => {}
                    }
                }
            }
            2 => raw = item.bytes()?,
            3 => match item.text()? {
                encoding if !encoding.is_empty() => return Err(WireError::Encoding(encoding)),
                _ => {}
            },
            _ => {}
        }
    }
    let Some(message) = table::of(&api_version, &kind) else {
        return Err(WireError::UnknownKind { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), api_version.into());
    fields(message, raw, depth, &mut object)?;
    Ok(Value::Object(object))
}

fn fields(message: &Message, bytes: &[u8], depth: usize, into: &mut Map<String, Value>) -> Result<()> {
    if depth > DEPTH {
        return Err(WireError::Depth);
    }
    let mut reader = Reader(bytes);
    while let Some((number, item)) = reader.next()? {
        if let Ok(at) = message.fields.binary_search_by_key(&number, |f| f.number) {
            field(&message.fields[at], item, depth + 1, into)?;
        }
    }
    Ok(())
}

fn field(field: &Field, item: Item, depth: usize, into: &mut Map<String, Value>) -> Result<()> {
    match (field.form, field.kind) {
        (Form::Single, Kind::Message(index)) if field.inline => return fields(table::message(index), item.bytes()?, depth, into),
        (Form::Single, kind) => {
            let value = value(kind, item, depth)?;
            // Zero times and empty raw objects are null in JSON, which counts as absent.
            if value.is_null() || !(field.pointer || field.required) && is_zero(&value) {
                into.remove(field.name);
            } else {
                into.insert(field.name.into(), value);
            }
        }
        (Form::List, kind) => {
            let Value::Array(list) = into.entry(field.name).or_insert_with(|| Value::Array(Vec::new())) else {
                return Err(WireError::Illegal("list"));
            };
            if let (Kind::Int, Item::Bytes(packed)) = (kind, item) {
                let mut packed = Reader(packed);
                while !packed.0.is_empty() {
                    list.push(packed.varint()?.cast_signed().into());
                }
                return Ok(());
            }
            list.push(value(kind, item, depth)?);
        }
        (Form::Map, kind) => {
            let (mut key, mut held) = (String::new(), None);
            let mut entry = Reader(item.bytes()?);
            while let Some((number, item)) = entry.next()? {
                match number {
                    1 => key = item.text()?,
                    2 => held = Some(value(kind, item, depth)?),
                    _ => {}
                }
            }
            let held = match held {
                Some(held) => held,
                None if matches!(kind, Kind::Int | Kind::Bool | Kind::Double) => value(kind, Item::Varint(0), depth)?,
                None => value(kind, Item::Bytes(&[]), depth)?,
            };
            if let Value::Object(map) = into.entry(field.name).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key, held);
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn value(kind: Kind, item: Item, depth: usize) -> Result<Value> {
    Ok(match kind {
        Kind::String => item.text()?.into(),
        Kind::Int => item.int()?.into(),
        Kind::Bool => (item.int()? != 0).into(),
        Kind::Bytes => STANDARD.encode(item.bytes()?).into(),
        Kind::Double => double(item.double()?)?,
        Kind::Message(index) => object(table::message(index), item, depth)?,
        _ => special::value(kind, item, depth)?,
    })
}

fn object(message: &Message, item: Item, depth: usize) -> Result<Value> {
    let mut object = Map::new();
    fields(message, item.bytes()?, depth, &mut object)?;
    Ok(Value::Object(object))
}

/// Whole numbers as JSON of upstream has them, without a point.
fn double(number: f64) -> Result<Value> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Ok((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number).ok_or(WireError::Illegal("not a number"))
}

mod special;

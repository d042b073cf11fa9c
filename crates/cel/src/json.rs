//! JSON to values, by their type where it is declared, and back.

use crate::error::EvalError;
use crate::time;
use crate::types::{ListKind, Type};
use crate::value::{Items, List, Map, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

static DYN: Type = Type::Dyn;

impl<'a> Value<'a> {
    /// What has not the declared type is what it is: validation has told of it.
    pub fn json(json: &'a Json, ty: &'a Type) -> Self {
        match (json, ty) {
            (Json::Null, _) => Self::Null,
            (Json::Bool(value), _) => Self::Bool(*value),
            (Json::Number(n), Type::Double) => Self::Double(n.as_f64().unwrap_or(0.0)),
            (Json::Number(n), Type::Uint) => n.as_u64().map_or_else(|| number(n), Self::Uint),
            (Json::Number(n), Type::Int) => match n.as_f64() {
                Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9.2e18 => Self::Int(f as i64),
                _ => number(n),
            },
            (Json::Number(n), _) => number(n),
            (Json::String(text), Type::Timestamp) => time::timestamp(text).map_or_else(|| Self::from(text.as_str()), Self::Timestamp),
            (Json::String(text), Type::Duration) => time::duration(text).map_or_else(|| Self::from(text.as_str()), Self::Duration),
            (Json::String(text), Type::Bytes) => match STANDARD.decode(text) {
                Ok(bytes) => Self::Bytes(bytes.into()),
                Err(_) => Self::from(text.as_str()),
            },
            (Json::String(text), _) => Self::from(text.as_str()),
            (Json::Array(items), Type::List(list)) => {
                let kind = (list.kind != ListKind::Atomic).then_some(&list.kind);
                Self::List(List { items: Items::Json(items, &list.element), kind })
            }
            (Json::Array(items), _) => Self::List(List { items: Items::Json(items, &DYN), kind: None }),
            (Json::Object(map), Type::Object(object)) => Self::Map(Map::Object(map, object)),
            (Json::Object(map), Type::Map(types)) => Self::Map(Map::Json(map, &types.1)),
            (Json::Object(map), _) => Self::Map(Map::Json(map, &DYN)),
        }
    }

    /// As JSON, where it can be that.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        let unsupported = |what: &str| EvalError::failed(format!("unsupported conversion of {what} to JSON"));
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) => serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::String(text) => text.as_str().into(),
            Self::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Self::Timestamp(timestamp) => time::show_timestamp(timestamp).into(),
            Self::Duration(nanos) => time::show_duration(*nanos).into(),
            Self::List(list) => match &list.items {
                Items::Json(items, _) => Json::Array(items.to_vec()),
                Items::Owned(items) => Json::Array(items.iter().map(Value::to_json).collect::<Result<_, _>>()?),
            },
            Self::Map(Map::Json(map, _) | Map::Object(map, _)) => Json::Object((*map).clone()),
            Self::Map(Map::Owned(map) | Map::Struct(_, map)) => {
                let entry = |(name, value): &(Value, Value)| match name {
                    Value::String(name) => Ok((name.as_str().to_string(), value.to_json()?)),
                    other => Err(unsupported(&format!("a key of type {}", other.type_name()))),
                };
                Json::Object(map.entries().iter().map(entry).collect::<Result<_, _>>()?)
            }
            Self::Optional(Some(inner)) => inner.to_json()?,
            Self::Optional(None) => Json::Null,
            other => return Err(unsupported(other.type_name())),
        })
    }
}

fn number<'a>(n: &serde_json::Number) -> Value<'a> {
    match n.as_i64() {
        Some(value) => Value::Int(value),
        None => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
    }
}

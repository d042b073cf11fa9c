//! Values. What comes from JSON is borrowed, and converted where it is looked at.

use crate::evaluate::Lazy;
use crate::library::Opaque;
use crate::types::{ListKind, ObjectType, Type};
use jiff::Timestamp;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub type JsonMap = serde_json::Map<String, Json>;

#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    /// In nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Arc<str>),
    Opaque(Opaque<'a>),
    /// An object whose fields are computed when they are asked for.
    Lazy(Arc<dyn Lazy<'a> + 'a>),
}

#[derive(Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[derive(Clone, Debug)]
pub struct List<'a> {
    pub(crate) items: Items<'a>,
    /// How it is compared and joined, for a list of an object.
    pub(crate) kind: Option<&'a ListKind>,
}

#[derive(Clone, Debug)]
pub(crate) enum Items<'a> {
    Json(&'a [Json], &'a Type),
    Owned(Arc<Vec<Value<'a>>>),
}

impl<'a> List<'a> {
    pub fn owned(items: Vec<Value<'a>>) -> Self {
        Self { items: Items::Owned(Arc::new(items)), kind: None }
    }

    pub fn len(&self) -> usize {
        match &self.items {
            Items::Json(items, _) => items.len(),
            Items::Owned(items) => items.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match &self.items {
            Items::Json(items, element) => items.get(at).map(|item| Value::json(item, element)),
            Items::Owned(items) => items.get(at).cloned(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// With the type of its values.
    Json(&'a JsonMap, &'a Type),
    Object(&'a JsonMap, &'a ObjectType),
    Owned(Arc<OwnedMap<'a>>),
    /// An object that the expression makes: `Object.spec{...}`.
    Struct(Arc<str>, Arc<OwnedMap<'a>>),
}

/// In the order of insertion.
#[derive(Clone, Debug, Default)]
pub struct OwnedMap<'a> {
    places: HashMap<Key, usize>,
    entries: Vec<(Value<'a>, Value<'a>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(String),
}

/// Numbers that are equal are one key.
fn key(value: &Value) -> Option<Key> {
    Some(match value {
        Value::Bool(b) => Key::Bool(*b),
        Value::Int(i) => Key::Int(*i),
        Value::Uint(u) => i64::try_from(*u).map_or(Key::Uint(*u), Key::Int),
        Value::Double(d) if d.fract() == 0.0 && *d >= -9.2e18 && *d <= 9.2e18 => Key::Int(*d as i64),
        Value::String(s) => Key::String(s.as_str().into()),
        _ => return None,
    })
}

impl<'a> OwnedMap<'a> {
    /// Whether it was not there yet, or none where it cannot be a key.
    pub fn insert(&mut self, name: Value<'a>, value: Value<'a>) -> Option<bool> {
        let key = key(&name)?;
        if let Some(at) = self.places.get(&key) {
            self.entries[*at].1 = value;
            return Some(false);
        }
        self.places.insert(key, self.entries.len());
        self.entries.push((name, value));
        Some(true)
    }

    pub fn get(&self, name: &Value) -> Option<&Value<'a>> {
        Some(&self.entries[*self.places.get(&key(name)?)?].1)
    }

    pub fn entries(&self) -> &[(Value<'a>, Value<'a>)] {
        &self.entries
    }
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Object(map, ty) => map.keys().filter(|k| ty.declares(k)).count(),
            Self::Owned(map) | Self::Struct(_, map) => map.entries.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, name: &Value) -> Option<Value<'a>> {
        match (self, name) {
            (Self::Owned(map) | Self::Struct(_, map), name) => map.get(name).cloned(),
            (_, Value::String(name)) => self.field(name.as_str()),
            _ => None,
        }
    }

    /// By the name that expressions use.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(map, value) => map.get(name).map(|v| Value::json(v, value)),
            Self::Object(map, ty) => {
                let field = ty.fields.get(name)?;
                map.get(&field.name).map(|v| Value::json(v, &field.ty))
            }
            Self::Owned(map) | Self::Struct(_, map) => map.get(&Value::from(name)).cloned(),
        }
    }

    pub fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Self::Json(map, ty) => map.iter().map(|(k, v)| (Value::from(k.as_str()), Value::json(v, ty))).collect(),
            Self::Object(map, ty) => {
                let entry = |(name, field): (&'a String, &'a crate::types::FieldType)| {
                    map.get(&field.name).map(|v| (Value::from(name.as_str()), Value::json(v, &field.ty)))
                };
                ty.fields.iter().filter_map(entry).collect()
            }
            Self::Owned(map) | Self::Struct(_, map) => map.entries.clone(),
        }
    }
}

impl ObjectType {
    fn declares(&self, json_name: &str) -> bool {
        crate::escape(json_name).is_some_and(|name| self.fields.contains_key(&name))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Text::Shared(text.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(items: Vec<Value<'a>>) -> Self {
        Self::List(List::owned(items))
    }
}

impl<'a> From<OwnedMap<'a>> for Value<'a> {
    fn from(map: OwnedMap<'a>) -> Self {
        Self::Map(Map::Owned(Arc::new(map)))
    }
}

impl<'a> Value<'a> {
    /// A map with keys that are text.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value<'a>)>) -> Self {
        let mut map = OwnedMap::default();
        for (name, value) in entries {
            map.insert(Value::from(name.into()), value);
        }
        map.into()
    }

    pub fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub fn none() -> Self {
        Self::Optional(None)
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text.as_str()) } else { None }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The name of its type.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(Map::Struct(name, _)) => name,
            Self::Map(Map::Object(..)) => "object",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(opaque) => opaque.type_name(),
            Self::Lazy(_) => "object",
        }
    }
}

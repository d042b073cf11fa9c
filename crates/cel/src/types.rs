//! Types that expressions are checked with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<ListType>),
    Map(Arc<(Type, Type)>),
    Optional(Arc<Type>),
    /// A type as a value: `type(x)`, `int`.
    Type(Arc<Type>),
    Object(Arc<ObjectType>),
    /// A type that only functions make and take: `net.IP`, `kubernetes.Quantity`.
    Opaque(&'static str),
    /// Not known yet, while checking.
    Param(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListType {
    pub element: Type,
    pub kind: ListKind,
}

/// How a list of an object is compared and joined (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// An object with declared fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectType {
    pub name: String,
    /// By the name that expressions use (see [`escape`](crate::escape)).
    pub fields: BTreeMap<String, FieldType>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldType {
    /// The name in JSON.
    pub name: String,
    pub ty: Type,
}

impl ObjectType {
    pub fn new(name: impl Into<String>, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        let field = |(name, ty): (String, Type)| crate::escape(&name).map(|escaped| (escaped, FieldType { name, ty }));
        Self { name: name.into(), fields: fields.into_iter().filter_map(field).collect() }
    }
}

impl Type {
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(ListType { element, kind: ListKind::Atomic }))
    }

    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    pub fn optional(inner: Type) -> Self {
        Self::Optional(Arc::new(inner))
    }

    pub fn object(name: impl Into<String>, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self::Object(Arc::new(ObjectType::new(name, fields)))
    }

    /// What mutating policies make their patches of: `JSONPatch{op: "add", path: "/a", value: 1}`.
    pub fn json_patch() -> Arc<ObjectType> {
        let fields = [("op", Self::String), ("path", Self::String), ("from", Self::String), ("value", Self::Dyn)];
        Arc::new(ObjectType::new("JSONPatch", fields.map(|(name, ty)| (name.to_string(), ty))))
    }

    pub(crate) fn of_type(inner: Type) -> Self {
        Self::Type(Arc::new(inner))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(list) => write!(f, "list({})", list.element),
            Self::Map(map) => write!(f, "map({}, {})", map.0, map.1),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Type(inner) => write!(f, "type({inner})"),
            Self::Object(object) => f.write_str(&object.name),
            Self::Opaque(name) => f.write_str(name),
            Self::Param(n) => write!(f, "{}", char::from(b'A' + (n % 26) as u8)),
        }
    }
}

/// Words of the language itself; those that it keeps for later are the parser's.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// A field's name as expressions write it, or none where they have no way to.
pub fn escape(name: &str) -> Option<String> {
    if WORDS.iter().chain(&crate::parser::RESERVED).any(|word| *word == name) {
        return Some(format!("__{name}__"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
        return None;
    }
    Some(name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

//! What the API machinery knows of a kind's shape: enough to decode strictly, prune, merge
//! and track field ownership. Built-in kinds and custom resources both reduce to this form.

use serde_json::Value;

/// An index into [`Schema::types`]; types may refer to each other in circles.
pub type TypeId = u32;

#[derive(Clone, Debug)]
pub struct Schema {
    pub types: Vec<Type>,
    pub root: TypeId,
    /// From this type on only names count: what is null or of another type stays, for validation to tell of.
    pub lenient: Option<TypeId>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Anything goes and is kept as it is (`x-kubernetes-preserve-unknown-fields`, raw extensions).
    Any,
    Scalar(Scalar),
    Struct(Struct),
    Map {
        value: TypeId,
        atomic: bool,
    },
    List {
        item: TypeId,
        list_type: ListType,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    Int32,
    Int64,
    Float,
    Bool,
    /// An integer or a string (ports, percentages).
    IntOrString,
    Quantity,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Base64.
    Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// The published name (`io.k8s.api.core.v1.PodSpec`), empty where it has none.
    pub name: String,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// Owned and replaced as a whole (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Unknown fields are kept rather than pruned or refused.
    pub open: bool,
}

impl Struct {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| f.name.as_ref().cmp(name)).ok().map(|i| &self.fields[i])
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: Box<str>,
    pub ty: TypeId,
    pub required: bool,
    /// What the field counts as where it is absent (OpenAPI v3 `default`). Server-side apply needs it of
    /// fields that are keys of a list (`ports[].protocol`: `TCP`).
    pub default: Option<Value>,
    /// How a strategic merge patch treats this field.
    pub strategy: Strategy,
}

impl Field {
    /// An optional field without a default that a strategic merge patch replaces.
    pub fn new(name: &str, ty: TypeId) -> Self {
        Self { name: name.into(), ty, required: false, default: None, strategy: Strategy::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strategy {
    /// `x-kubernetes-patch-strategy` has `merge`.
    pub merge: bool,
    /// `x-kubernetes-patch-strategy` has `retainKeys`.
    pub retain_keys: bool,
    /// `x-kubernetes-patch-merge-key`.
    pub key: Option<Box<str>>,
}

/// `x-kubernetes-list-type`: how server-side apply tells a list's items apart.
#[derive(Clone, Debug, PartialEq)]
pub enum ListType {
    Atomic,
    Set,
    Map(Vec<Box<str>>),
}

impl Schema {
    /// A schema that accepts anything.
    pub fn any() -> Self {
        Self { types: vec![Type::Any], root: 0, lenient: None }
    }

    pub fn ty(&self, id: TypeId) -> &Type {
        &self.types[id as usize]
    }
}

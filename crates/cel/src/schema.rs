//! Types from OpenAPI schemas, and how large what they describe may be.

use crate::cost::{Range, Sizes};
use crate::types::{FieldType, ListKind, ListType, ObjectType, Type, escape};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The largest request, which bounds everything that has no bound of its own.
const REQUEST: u64 = 3 * 1024 * 1024;

/// What a schema declares.
#[derive(Clone, Debug)]
pub struct Declared {
    pub ty: Type,
    /// The most characters, items or properties.
    most: u64,
    /// The least bytes of JSON.
    least: u64,
    key: Option<Box<Declared>>,
    element: Option<Box<Declared>>,
    fields: BTreeMap<String, Declared>,
}

/// What expressions see of a schema; none where they do not see it. `resource`: it is of an object with `apiVersion`,
/// `kind` and `metadata`. `name` is that of its type in errors.
pub fn declare(schema: &Json, resource: bool, name: &str) -> Option<Declared> {
    if flag(schema, "x-kubernetes-int-or-string") {
        let most = number(schema, "maxLength").map_or(REQUEST - 2, |max| max.saturating_mul(4));
        return Some(Declared::simple(Type::Dyn, most, 1));
    }
    match text(schema, "type") {
        "array" => list(schema, name),
        "object" => match schema.get("additionalProperties").filter(|inner| inner.is_object()) {
            Some(inner) => map(schema, inner, name),
            None => Some(object(schema, resource, name)),
        },
        "string" => Some(string(schema)),
        "boolean" => Some(Declared::simple(Type::Bool, 0, 4)),
        "number" => Some(Declared::simple(Type::Double, 0, 1)),
        "integer" => Some(Declared::simple(Type::Int, 0, 1)),
        _ => None,
    }
}

/// Those fields of an object's metadata that every rule may use.
static WHOLE: LazyLock<Map<String, Json>> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let metadata = json!({"type": "object", "properties": {"name": text, "generateName": text}});
    [("apiVersion", text.clone()), ("kind", text), ("metadata", metadata)]
        .map(|(name, schema)| (name.to_string(), schema))
        .into_iter()
        .collect()
});

fn flag(schema: &Json, key: &str) -> bool {
    schema.get(key) == Some(&Json::Bool(true))
}

fn text<'s>(schema: &'s Json, key: &str) -> &'s str {
    schema.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// A negative bound is none at all, and leaves room for nothing.
fn number(schema: &Json, key: &str) -> Option<u64> {
    schema.get(key).filter(|n| n.is_number()).map(|n| n.as_u64().unwrap_or(0))
}

fn embedded(schema: &Json) -> bool {
    flag(schema, "x-kubernetes-embedded-resource")
}

fn list(schema: &Json, name: &str) -> Option<Declared> {
    let items = schema.get("items")?;
    let element = declare(items, embedded(items), &format!("{name}.@idx"))?;
    let most = number(schema, "maxItems").unwrap_or((REQUEST - 2) / (element.least + 1));
    let keys = || schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array).into_iter().flatten();
    let kind = match text(schema, "x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" => ListKind::Map(keys().filter_map(Json::as_str).map(String::from).collect()),
        _ => ListKind::Atomic,
    };
    let ty = Type::List(Arc::new(ListType { element: element.ty.clone(), kind }));
    Some(Declared { element: Some(Box::new(element)), ..Declared::simple(ty, most, 2) })
}

fn map(schema: &Json, inner: &Json, name: &str) -> Option<Declared> {
    let element = declare(inner, embedded(inner), &format!("{name}.@elem"))?;
    let most = number(schema, "maxProperties").unwrap_or((REQUEST - 2) / (element.least + 6));
    let ty = Type::map(Type::String, element.ty.clone());
    let key = Declared::simple(Type::String, 0, 2);
    Some(Declared { element: Some(Box::new(element)), key: Some(Box::new(key)), ..Declared::simple(ty, most, 2) })
}

fn object(schema: &Json, resource: bool, name: &str) -> Declared {
    let mut fields = BTreeMap::new();
    let mut types = BTreeMap::new();
    let mut least = 2;
    let required = schema.get("required").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let given = schema.get("properties").and_then(Json::as_object);
    // What is declared of metadata takes the place of what every object has, if it is of use.
    let has_meta = given.is_some_and(|given| given.get("metadata").is_some_and(|meta| meta.pointer("/properties/name").is_some()));
    let whole = WHOLE.iter().filter(|(key, _)| resource && (!has_meta || *key != "metadata"));
    let own = given.into_iter().flatten().filter(|(key, _)| !resource || !WHOLE.contains_key(*key) || (has_meta && *key == "metadata"));
    for (field, property) in own.chain(whole) {
        let escaped = escape(field);
        let Some(declared) = declare(property, embedded(property), &format!("{name}.{}", escaped.as_deref().unwrap_or(field))) else {
            continue;
        };
        if required.iter().any(|r| r == field) && property.get("default").is_none() {
            least += field.len() as u64 + declared.least + 4;
        }
        if let Some(escaped) = escaped {
            types.insert(escaped.clone(), FieldType { name: field.clone(), ty: declared.ty.clone() });
            fields.insert(escaped, declared);
        }
    }
    let ty = Type::Object(Arc::new(ObjectType { name: name.into(), fields: types }));
    Declared { fields, ..Declared::simple(ty, 0, least) }
}

fn string(schema: &Json) -> Declared {
    let length = number(schema, "maxLength");
    match text(schema, "format") {
        "byte" => Declared::simple(Type::Bytes, length.unwrap_or(REQUEST - 2), 2),
        "duration" => Declared::simple(Type::Duration, 32, 3),
        "date" => Declared::simple(Type::Timestamp, 12, 12),
        "date-time" => Declared::simple(Type::Timestamp, 32, 21),
        _ => {
            let allowed = schema.get("enum").and_then(Json::as_array).filter(|all| !all.is_empty());
            let longest = allowed.map(|all| all.iter().filter_map(Json::as_str).map(|v| v.len() as u64).max().unwrap_or(0));
            let most = length.map(|max| max.saturating_mul(4)).or(longest).unwrap_or(REQUEST - 2);
            Declared::simple(Type::String, most, 2)
        }
    }
}

impl Declared {
    fn simple(ty: Type, most: u64, least: u64) -> Self {
        Self { ty, most, least, key: None, element: None, fields: BTreeMap::new() }
    }

    /// How often at most what is declared can be in one request.
    pub fn cardinality(&self) -> u64 {
        REQUEST / (self.least + 1)
    }

    /// A field by the name that expressions use.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.fields.get(name)
    }

    /// What the items of a list or the values of a map are.
    pub fn element(&self) -> Option<&Self> {
        self.element.as_deref()
    }

    /// The most items or properties that it may have.
    pub fn most(&self) -> u64 {
        self.most
    }
}

impl Sizes for Declared {
    fn size(&self, path: &[&str]) -> Option<Range> {
        let mut at = self;
        // The first is the variable.
        for name in path.get(1..)? {
            at = match *name {
                "@items" | "@values" => at.element.as_deref()?,
                "@keys" => at.key.as_deref()?,
                field => at.fields.get(field)?,
            };
        }
        Some(Range::new(0, at.most))
    }
}

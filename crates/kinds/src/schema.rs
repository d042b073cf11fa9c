//! The shape of a built-in type: generated from the published types, overlaid with [`crate::facts`].
//! Built when first asked for and then kept, without the descriptions.

use crate::facts;
use crate::types::roots;
use meta::schema::{Field, ListType, Scalar, Schema, Strategy, Struct, Type, TypeId};
use schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The schema of a definition (`io.k8s.api.core.v1.Pod`). A name that is not published gets one that accepts anything.
pub fn of(definition: &str) -> Arc<Schema> {
    static CACHE: LazyLock<Mutex<HashMap<&'static str, Arc<Schema>>>> = LazyLock::new(Mutex::default);
    let Some(root) = roots().find(|root| root.definition == definition) else {
        return Arc::new(Schema::any());
    };
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    cache.entry(root.definition).or_insert_with(|| Arc::new(build(root.definition, &generated(root.generate)))).clone()
}

/// The definitions that one type needs, as the generator gives them.
fn generated(generate: fn(&mut SchemaGenerator) -> schemars::Schema) -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    generate(&mut generator);
    generator.take_definitions(true)
}

/// The definition that a property refers to.
pub(crate) fn reference(shape: &Value) -> Option<&str> {
    shape.get("$ref")?.as_str()?.rsplit('/').next()
}

fn build(definition: &str, definitions: &Map<String, Value>) -> Schema {
    let mut builder = Builder { definitions, types: Vec::new(), known: HashMap::new() };
    let root = builder.definition(definition);
    builder.types.shrink_to_fit();
    Schema { types: builder.types, root, lenient: None }
}

struct Builder<'a> {
    definitions: &'a Map<String, Value>,
    types: Vec<Type>,
    known: HashMap<String, TypeId>,
}

impl Builder<'_> {
    /// All but structs are shared by value.
    fn intern(&mut self, ty: Type) -> TypeId {
        if !matches!(ty, Type::Struct(_))
            && let Some(i) = self.types.iter().position(|t| *t == ty)
        {
            return i as TypeId;
        }
        self.types.push(ty);
        (self.types.len() - 1) as TypeId
    }

    fn definition(&mut self, name: &str) -> TypeId {
        if let Some(id) = self.known.get(name) {
            return *id;
        }
        if let Some(ty) = special(name) {
            return self.intern(ty);
        }
        let Some(shape) = self.definitions.get(name) else {
            return self.intern(Type::Any);
        };
        // Types may refer to themselves: the place is taken before the fields are known.
        self.types.push(Type::Struct(Struct { name: name.into(), fields: Vec::new(), atomic: facts::is_atomic(name), open: false }));
        let id = (self.types.len() - 1) as TypeId;
        self.known.insert(name.into(), id);
        let required: Vec<&str> = shape.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = Vec::new();
        for (field, shape) in shape.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let facts = facts::of(name, field);
            let ty = self.property(shape, facts);
            fields.push(Field {
                name: field.as_str().into(),
                ty,
                required: facts::is_required(name, field, required.contains(&field.as_str())),
                default: default(facts),
                strategy: strategy(facts),
            });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        if let Type::Struct(shape) = &mut self.types[id as usize] {
            shape.fields = fields;
        }
        id
    }

    fn property(&mut self, shape: &Value, facts: &'static str) -> TypeId {
        if let Some(name) = reference(shape) {
            let id = self.definition(name);
            return if facts::has(facts, "granular") { self.granular(id) } else { id };
        }
        let format = shape.get("format").and_then(Value::as_str).unwrap_or_default();
        let ty = match shape.get("type").and_then(Value::as_str) {
            Some("string") if format == "byte" => Type::Scalar(Scalar::Bytes),
            Some("string") => Type::Scalar(Scalar::String),
            Some("integer") if format == "int64" => Type::Scalar(Scalar::Int64),
            Some("integer") => Type::Scalar(Scalar::Int32),
            Some("number") => Type::Scalar(Scalar::Float),
            Some("boolean") => Type::Scalar(Scalar::Bool),
            Some("array") => {
                let item = self.property(shape.get("items").unwrap_or(&Value::Null), "");
                Type::List { item, list_type: self.list_type(item, facts) }
            }
            Some("object") => match shape.get("additionalProperties") {
                Some(value) => Type::Map { value: self.property(value, ""), atomic: facts::has(facts, "atomic") },
                None => Type::Any,
            },
            _ => Type::Any,
        };
        self.intern(ty)
    }

    fn list_type(&mut self, item: TypeId, facts: &'static str) -> ListType {
        if facts::has(facts, "set") {
            return ListType::Set;
        }
        let Some(keys) = facts::value(facts, "map") else {
            return ListType::Atomic;
        };
        let keys: Vec<Box<str>> = keys.split(',').map(Into::into).collect();
        // Upstream publishes the zero value as the default of what is required, and keys count as that.
        let zeros = keys.iter().map(|key| self.zero(item, key)).collect::<Vec<_>>();
        if let Type::Struct(shape) = &mut self.types[item as usize] {
            for (key, zero) in keys.iter().zip(zeros) {
                if let Some(field) = shape.fields.iter_mut().find(|f| f.name == *key && f.required) {
                    field.default = field.default.take().or(zero);
                }
            }
        }
        ListType::Map(keys)
    }

    fn zero(&self, item: TypeId, key: &str) -> Option<Value> {
        let Type::Struct(shape) = &self.types[item as usize] else { return None };
        match &self.types[shape.field(key)?.ty as usize] {
            Type::Scalar(Scalar::String) => Some("".into()),
            Type::Scalar(Scalar::Int32 | Scalar::Int64) => Some(0.into()),
            _ => None,
        }
    }

    /// A field may open up a struct that is atomic elsewhere.
    fn granular(&mut self, id: TypeId) -> TypeId {
        match &self.types[id as usize] {
            Type::Struct(shape) if shape.atomic => {
                let copy = Type::Struct(Struct { atomic: false, ..shape.clone() });
                self.intern(copy)
            }
            _ => id,
        }
    }
}

/// Types that JSON schema does not tell apart, or that hold anything.
fn special(name: &str) -> Option<Type> {
    Some(match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Type::Scalar(Scalar::Quantity),
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Type::Scalar(Scalar::IntOrString),
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Type::Scalar(Scalar::Time),
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Type::Scalar(Scalar::MicroTime),
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"
        | "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
        | "io.k8s.apimachinery.pkg.runtime.RawExtension"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => Type::Any,
        _ => return None,
    })
}

fn strategy(facts: &'static str) -> Strategy {
    let patch = facts::value(facts, "patch").unwrap_or_default();
    let has = |word: &str| patch.split(',').any(|p| p == word);
    Strategy { merge: has("merge"), retain_keys: has("retainKeys"), key: facts::value(facts, "key").map(Into::into) }
}

pub(crate) fn default(facts: &'static str) -> Option<Value> {
    let text = facts::value(facts, "default")?;
    Some(text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from))
}

#[cfg(test)]
mod tests;

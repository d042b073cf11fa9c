//! From a structural schema to what decoding, pruning and ownership go by. Scalars are left open here: a wrong one is
//! told by validation, with its path, rather than ending the decoding.

use meta::schema::{Field, ListType, Schema, Struct, Type, TypeId};
use meta::value;
use serde_json::Value;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const ANY: TypeId = 0;

pub fn build(name: &str, openapi: &Value) -> Schema {
    let mut builder = Builder { types: vec![Type::Any], meta: 0 };
    builder.meta = builder.graft(&kinds::schema::of(OBJECT_META));
    let lenient = Some(builder.types.len() as TypeId);
    let root = builder.object(openapi, true, name);
    builder.types.shrink_to_fit();
    Schema { types: builder.types, root, lenient }
}

struct Builder {
    types: Vec<Type>,
    meta: TypeId,
}

impl Builder {
    fn add(&mut self, ty: Type) -> TypeId {
        self.types.push(ty);
        (self.types.len() - 1) as TypeId
    }

    /// Takes in the types of another schema; answers where its root is.
    fn graft(&mut self, other: &Schema) -> TypeId {
        let by = self.types.len() as TypeId;
        let moved = other.types.iter().cloned().map(|ty| match ty {
            Type::Struct(mut shape) => {
                shape.fields.iter_mut().for_each(|f| f.ty += by);
                Type::Struct(shape)
            }
            Type::Map { value, atomic } => Type::Map { value: value + by, atomic },
            Type::List { item, list_type } => Type::List { item: item + by, list_type },
            other => other,
        });
        self.types.extend(moved);
        other.root + by
    }

    fn ty(&mut self, schema: &Value) -> TypeId {
        match value::text(schema, &["type"]) {
            "object" => self.object(schema, value::flag(schema, &["x-kubernetes-embedded-resource"]), ""),
            "array" => {
                let item = schema.get("items").map_or(ANY, |items| self.ty(items));
                let keys =
                    || value::items(schema, &["x-kubernetes-list-map-keys"]).iter().filter_map(Value::as_str).map(Into::into).collect();
                let list_type = match value::text(schema, &["x-kubernetes-list-type"]) {
                    "set" => ListType::Set,
                    "map" => ListType::Map(keys()),
                    _ => ListType::Atomic,
                };
                self.add(Type::List { item, list_type })
            }
            _ => ANY,
        }
    }

    /// `whole`: an object of the API, with its metadata.
    fn object(&mut self, schema: &Value, whole: bool, name: &str) -> TypeId {
        let atomic = value::text(schema, &["x-kubernetes-map-type"]) == "atomic";
        let open = value::flag(schema, &["x-kubernetes-preserve-unknown-fields"]);
        let properties = schema.get("properties").and_then(Value::as_object);
        if !whole && properties.is_none_or(serde_json::Map::is_empty) {
            match schema.get("additionalProperties") {
                Some(inner @ Value::Object(_)) => {
                    let value = self.ty(inner);
                    return self.add(Type::Map { value, atomic });
                }
                Some(Value::Bool(true)) => return self.add(Type::Map { value: ANY, atomic }),
                _ if open && !atomic => return ANY,
                _ => {}
            }
        }
        let mut fields = Vec::new();
        for (field, schema) in properties.into_iter().flatten() {
            if whole && matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let default = schema.get("default").filter(|d| !d.is_object() && !d.is_array()).cloned();
            fields.push(Field { default, ..Field::new(field, self.ty(schema)) });
        }
        if whole {
            fields.extend([Field::new("apiVersion", ANY), Field::new("kind", ANY), Field::new("metadata", self.meta)]);
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        self.add(Type::Struct(Struct { name: name.into(), fields, atomic, open }))
    }
}

//! How a value is owned: as one leaf, by its keys, or by its items.

use super::set::{self, Set};
use crate::schema::{Field, ListType, Schema, Struct, Type, TypeId};
use serde_json::{Map, Value};

/// The type of a value; `None` is a value that no schema describes, whose maps are owned key by key
/// and whose lists as a whole.
pub(super) type Ty = Option<TypeId>;

#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    Leaf,
    Struct(&'a Struct),
    Map(Ty),
    List(TypeId, &'a ListType),
}

#[derive(Clone, Copy)]
pub(super) struct Types<'a>(pub &'a Schema);

impl<'a> Types<'a> {
    pub fn root(self) -> Ty {
        Some(self.0.root)
    }

    /// `object` says whether the value is one, where the type leaves that open.
    pub fn shape(self, ty: Ty, object: bool) -> Shape<'a> {
        match ty.map(|id| self.0.ty(id)) {
            None | Some(Type::Any) if object => Shape::Map(None),
            Some(Type::Struct(shape)) if !shape.atomic => Shape::Struct(shape),
            Some(Type::Map { value, atomic: false }) => Shape::Map(Some(*value)),
            Some(Type::List { item, list_type }) if *list_type != ListType::Atomic => Shape::List(*item, list_type),
            _ => Shape::Leaf,
        }
    }

    /// What tells an item from others in its list, or why it has no place in it.
    pub fn element(self, item_type: TypeId, list_type: &ListType, item: &Value) -> Result<String, String> {
        let keys = match list_type {
            ListType::Map(keys) => keys,
            ListType::Set | ListType::Atomic => {
                return match item {
                    Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
                    Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                    Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
                    scalar => Ok(format!("v:{scalar}")),
                };
            }
        };
        let Value::Object(fields) = item else {
            let what = if item.is_null() { "a null element" } else { "non-map elements" };
            return Err(format!("associative list with keys may not have {what}"));
        };
        let default = |name: &str| match self.0.ty(item_type) {
            Type::Struct(shape) => shape.field(name).and_then(|f| f.default.as_ref()),
            _ => None,
        };
        let found = keys.iter().filter_map(|name| Some((name.to_string(), fields.get(&**name).or_else(|| default(name))?.clone())));
        let found: Map<String, Value> = found.collect();
        if found.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default values for any key fields)"
            ));
        }
        Ok(format!("k:{}", Value::Object(found)))
    }

    /// All that a value consists of. Lists that hold an item twice own that item as a whole.
    pub fn fields(self, ty: Ty, value: &Value) -> Set {
        let mut set = Set::default();
        match (self.shape(ty, value.is_object()), value) {
            (Shape::Struct(shape), Value::Object(map)) => {
                for (key, value) in map {
                    let field = shape.field(key);
                    let child = self.entry(field.map(|f| f.ty), value, field.is_none());
                    set.put(|| set::field(key), child);
                }
            }
            (Shape::Map(inner), Value::Object(map)) => {
                for (key, value) in map {
                    set.children.insert(set::field(key), self.entry(inner, value, true));
                }
            }
            (Shape::List(item_type, list_type), Value::Array(items)) => {
                for item in items {
                    let Ok(key) = self.element(item_type, list_type, item) else { continue };
                    let child = if set.children.contains_key(&key) { Set::default() } else { self.fields(Some(item_type), item) };
                    set.children.insert(key, Set { member: true, ..child });
                }
            }
            (Shape::Leaf, _) => set.member = true,
            _ => {}
        }
        set
    }

    /// The paths of the lists, maps and structs in a value that are owned as a whole.
    pub fn wholes(self, ty: Ty, value: &Value, path: &mut String, out: &mut Vec<String>) {
        let start = path.len();
        let below = |key: String, ty: Ty, value: &Value, path: &mut String, out: &mut Vec<String>| {
            path.push_str(&key);
            self.wholes(ty, value, path, out);
            path.truncate(start);
        };
        match (self.shape(ty, value.is_object()), value) {
            (Shape::Leaf, Value::Object(_) | Value::Array(_)) => out.push(path.clone()),
            (Shape::Struct(shape), Value::Object(map)) => {
                for (key, value) in map {
                    below(format!(".{key}"), shape.field(key).map(|f| f.ty), value, path, out);
                }
            }
            (Shape::Map(inner), Value::Object(map)) => {
                for (key, value) in map {
                    below(format!(".{key}"), inner, value, path, out);
                }
            }
            (Shape::List(item, _), Value::Array(items)) => {
                for (i, value) in items.iter().enumerate() {
                    below(format!("[{i}]"), Some(item), value, path, out);
                }
            }
            _ => {}
        }
    }

    fn entry(self, ty: Ty, value: &Value, member: bool) -> Set {
        let mut child = self.fields(ty, value);
        child.member |= member || value.is_null() || value.as_object().is_some_and(Map::is_empty);
        child
    }

    /// A set in which a struct's fields are members wherever something below them is.
    pub fn with_named_fields(self, ty: Ty, set: &Set) -> Set {
        let mut result = Set { member: set.member, ..Set::default() };
        for (key, child) in &set.children {
            let (inner, named) = self.below(ty, key);
            let mut child = self.with_named_fields(inner, child);
            child.member |= named;
            result.children.insert(key.clone(), child);
        }
        result
    }

    /// The type below a path element, and whether that is a struct's own field.
    pub fn below(self, ty: Ty, key: &str) -> (Ty, bool) {
        let name = key.strip_prefix("f:");
        match (self.shape(ty, name.is_some()), name) {
            (Shape::Struct(shape), Some(name)) => match shape.field(name) {
                Some(Field { ty, .. }) => (Some(*ty), true),
                None => (None, false),
            },
            (Shape::Map(inner), Some(_)) => (inner, false),
            (Shape::List(item, _), None) => (Some(item), false),
            _ => (None, false),
        }
    }
}

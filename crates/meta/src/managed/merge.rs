//! What an applier wants laid over what is there, and whether it fits the schema at all.

use super::shape::{Shape, Ty, Types};
use crate::schema::{ListType, Scalar, Type, TypeId};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

impl Types<'_> {
    /// `over` wins in leaves; everything else is merged by key.
    pub fn merge(self, ty: Ty, under: &Value, over: &Value) -> Value {
        match (self.shape(ty, under.is_object() || over.is_object()), under, over) {
            (Shape::Struct(shape), Value::Object(under), Value::Object(over)) => {
                self.merge_maps(under, over, |key| shape.field(key).map(|f| f.ty))
            }
            (Shape::Map(inner), Value::Object(under), Value::Object(over)) => self.merge_maps(under, over, |_| inner),
            (Shape::List(item, list_type), Value::Array(under), Value::Array(over)) => {
                Value::Array(self.merge_lists(item, list_type, under, over))
            }
            // Saying null of something that has parts asks for none of them, and others keep theirs.
            (Shape::Struct(_) | Shape::Map(_), Value::Object(under), Value::Null) if !under.is_empty() => Value::Object(under.clone()),
            (Shape::List(..), Value::Array(under), Value::Null) if !under.is_empty() => Value::Array(under.clone()),
            (_, _, over) => over.clone(),
        }
    }

    fn merge_maps(self, under: &Map<String, Value>, over: &Map<String, Value>, ty: impl Fn(&str) -> Ty) -> Value {
        let both = under.iter().map(|(key, under)| {
            let merged = over.get(key).map_or_else(|| under.clone(), |over| self.merge(ty(key), under, over));
            (key.clone(), merged)
        });
        let mut out: Map<String, Value> = both.collect();
        let added = over.iter().filter(|(key, _)| !under.contains_key(*key));
        out.extend(added.map(|(key, over)| (key.clone(), over.clone())));
        Value::Object(out)
    }

    /// The applier's items come in its order, the others where they stood among them.
    fn merge_lists(self, item_type: TypeId, list_type: &ListType, under: &[Value], over: &[Value]) -> Vec<Value> {
        let keyed = |items: &[Value]| -> Vec<(String, Value)> {
            items.iter().filter_map(|item| Some((self.element(item_type, list_type, item).ok()?, item.clone()))).collect()
        };
        let (left, right) = (keyed(under), keyed(over));
        let wanted: BTreeMap<&str, &Value> = right.iter().map(|(key, item)| (key.as_str(), item)).collect();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        left.iter().for_each(|(key, _)| *seen.entry(key).or_default() += 1);
        // An item that is there several times has no counterpart to merge with.
        let there: BTreeMap<&str, &Value> =
            left.iter().filter(|(key, _)| seen.get(key.as_str()) == Some(&1)).map(|(key, item)| (key.as_str(), item)).collect();
        let mut shared = right.iter().map(|(key, _)| key.as_str()).filter(|key| seen.contains_key(key));
        let mut next = shared.next();
        let mut merged: BTreeSet<&str> = BTreeSet::new();
        let mut out = Vec::with_capacity(left.len().max(right.len()));
        let both = |key: &str| match (there.get(key), wanted.get(key)) {
            (Some(under), Some(over)) => self.merge(Some(item_type), under, over),
            (_, Some(over)) => (*over).clone(),
            (Some(under), None) => (*under).clone(),
            (None, None) => Value::Null,
        };
        let (mut l, mut r) = (0, 0);
        while l < left.len() || r < right.len() {
            if let (Some((theirs, _)), Some((ours, _))) = (left.get(l), right.get(r)) {
                if theirs == ours {
                    merged.insert(ours);
                    out.push(both(ours));
                    (l, r) = (l + 1, r + 1);
                    next = shared.next();
                    continue;
                }
                if wanted.contains_key(theirs.as_str()) && next.is_some_and(|next| next != theirs) {
                    l += 1;
                    continue;
                }
            }
            if let Some((theirs, item)) = left.get(l) {
                if !wanted.contains_key(theirs.as_str()) {
                    out.push(item.clone());
                    l += 1;
                    continue;
                }
                if merged.contains(theirs.as_str()) {
                    l += 1;
                }
            }
            if let Some((ours, _)) = right.get(r) {
                merged.insert(ours);
                out.push(both(ours));
                r += 1;
                if next == Some(ours) {
                    next = shared.next();
                }
            }
        }
        out
    }

    /// Says the first thing about a value that its type does not allow, as `path: what`.
    pub fn check(self, ty: Ty, value: &Value, path: &str) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        let wrong = |what: &str| Err(format!("{path}: expected {what}, got {value}"));
        let Some(ty) = ty else { return Ok(()) };
        match (self.0.ty(ty), value) {
            (Type::Struct(shape), Value::Object(map)) => map.iter().try_for_each(|(key, value)| match shape.field(key) {
                Some(field) => self.check(Some(field.ty), value, &format!("{path}.{key}")),
                None if shape.open => Ok(()),
                None => Err(format!("{path}.{key}: field not declared in schema")),
            }),
            (Type::Map { value: inner, .. }, Value::Object(map)) => {
                map.iter().try_for_each(|(key, value)| self.check(Some(*inner), value, &format!("{path}.{key}")))
            }
            (Type::Struct(_) | Type::Map { .. }, _) => wrong("map"),
            (Type::List { item, list_type }, Value::Array(items)) => {
                let mut seen = BTreeSet::new();
                for (index, value) in items.iter().enumerate() {
                    self.check(Some(*item), value, &format!("{path}[{index}]"))?;
                    if *list_type != ListType::Atomic {
                        let key = self.element(*item, list_type, value).map_err(|e| format!("{path}: element {index}: {e}"))?;
                        if !seen.insert(key.clone()) {
                            let shown = super::set::shown(&key);
                            return Err(format!("{path}: duplicate entries for key {shown}"));
                        }
                    }
                }
                Ok(())
            }
            (Type::List { .. }, _) => wrong("list"),
            (Type::Any, _) => Ok(()),
            (Type::Scalar(scalar), value) => match scalar {
                Scalar::String | Scalar::Time | Scalar::MicroTime | Scalar::Bytes if !value.is_string() => wrong("string"),
                Scalar::Int32 | Scalar::Int64 | Scalar::Float if !value.is_number() => wrong("numeric (int or float)"),
                Scalar::Bool if !value.is_boolean() => wrong("boolean"),
                Scalar::IntOrString | Scalar::Quantity if !value.is_string() && !value.is_number() => wrong("string or number"),
                _ => Ok(()),
            },
        }
    }
}

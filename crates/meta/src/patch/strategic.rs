//! Strategic merge patch: lists merge by the keys that the schema names, and directives say what a
//! plain merge cannot (apimachinery `pkg/util/strategicpatch`).

use super::{PatchError, type_name};
use crate::schema::{Field, Schema, Strategy, Type, TypeId};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::mem::take;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

static NO_STRATEGY: Strategy = Strategy { merge: false, retain_keys: false, key: None };

type Object = Map<String, Value>;

/// Applies a strategic merge patch with the merge keys of the schema.
pub fn apply(schema: &Schema, target: Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(PatchError::Malformed(format!("error decoding patch: cannot unmarshal {} into a map", type_name(patch))));
    };
    Merge { schema }.maps(target, patch.clone(), Some(schema.root)).map(Value::Object)
}

fn malformed(what: &str) -> PatchError {
    PatchError::Malformed(format!("invalid patch format of {what}"))
}

fn wrong_type(expected: &str, value: &Value) -> PatchError {
    PatchError::Unmergeable(format!("expected a {expected}, but received a {}", type_name(value)))
}

fn no_merge_key(item: &Object, key: &str) -> PatchError {
    PatchError::Unmergeable(format!("map: {} does not contain declared merge key: {key}", Value::Object(item.clone())))
}

struct Merge<'a> {
    schema: &'a Schema,
}

impl<'a> Merge<'a> {
    /// The type and strategy of a field; a type that is not known merges as plain maps and lists do.
    fn field(&self, ty: Option<TypeId>, name: &str) -> (Option<TypeId>, &'a Strategy) {
        match ty.map(|ty| self.schema.ty(ty)) {
            Some(Type::Struct(shape)) => match shape.field(name) {
                Some(Field { ty, strategy, .. }) => (Some(*ty), strategy),
                None => (None, &NO_STRATEGY),
            },
            Some(Type::Map { value, .. }) => (Some(*value), &NO_STRATEGY),
            _ => (None, &NO_STRATEGY),
        }
    }

    fn item(&self, ty: Option<TypeId>) -> Option<TypeId> {
        match ty.map(|ty| self.schema.ty(ty)) {
            Some(Type::List { item, .. }) => Some(*item),
            _ => None,
        }
    }

    fn maps(&self, mut original: Object, mut patch: Object, ty: Option<TypeId>) -> Result<Object, PatchError> {
        if let Some(directive) = patch.remove(PATCH) {
            return match directive.as_str() {
                Some("replace") => Ok(cleaned(patch)),
                Some("delete") => Ok(Object::new()),
                _ => Err(PatchError::Unmergeable(format!("unknown patch type: {directive} in map: {}", Value::Object(patch)))),
            };
        }
        if let Some(retained) = patch.remove(RETAIN_KEYS) {
            retain_keys(&mut original, &patch, &retained)?;
        }
        self.ordered_lists(&mut original, &mut patch, ty)?;
        for (key, value) in patch {
            if let Some(name) = key.strip_prefix(DELETE_FROM) {
                if let (Value::Array(gone), Some(Value::Array(items))) = (&value, original.get_mut(name)) {
                    items.retain(|item| !gone.contains(item));
                } else if !value.is_array() {
                    return Err(malformed("primitive list"));
                }
                continue;
            }
            self.entry(&mut original, key, value, ty)?;
        }
        Ok(original)
    }

    fn entry(&self, original: &mut Object, key: String, value: Value, ty: Option<TypeId>) -> Result<(), PatchError> {
        if value.is_null() {
            original.remove(&key);
            return Ok(());
        }
        let (field, strategy) = self.field(ty, &key);
        let merged = match (original.get_mut(&key).map(take), value) {
            (Some(Value::Object(old)), Value::Object(new)) => Some(Value::Object(self.maps(old, new, field)?)),
            (Some(Value::Array(old)), Value::Array(new)) if strategy.merge => Some(Value::Array(self.lists(old, new, field, strategy)?)),
            // Lists that do not merge are taken as they are, except that directives make no sense in them.
            (_, new) => clean(new),
        };
        match merged {
            Some(merged) => original.insert(key, merged),
            None => original.remove(&key),
        };
        Ok(())
    }

    /// Handles each `$setElementOrder/x` together with the patch of list `x`: the order in the
    /// directive wins over that in the patch, which wins over that of the object.
    fn ordered_lists(&self, original: &mut Object, patch: &mut Object, ty: Option<TypeId>) -> Result<(), PatchError> {
        let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
        for directive in directives {
            let name = &directive[ELEMENT_ORDER.len()..];
            let order = match patch.remove(&directive) {
                Some(Value::Array(order)) => order,
                Some(other) => return Err(wrong_type("list", &other)),
                None => continue,
            };
            let (field, strategy) = self.field(ty, name);
            let key = strategy.key.as_deref();
            let list = |value: Option<Value>| match value {
                None => Ok(None),
                Some(Value::Array(items)) => Ok(Some(items)),
                Some(other) => Err(wrong_type("list", &other)),
            };
            let changes = list(patch.remove(name))?;
            if let Some(changes) = &changes {
                check_order(changes, &order, key)?;
            }
            let old = list(original.remove(name))?;
            let before = old.clone().unwrap_or_default();
            let merged = match (old, changes) {
                (None, None) => continue,
                (Some(old), None) => old,
                (None, Some(changes)) => changes.into_iter().filter_map(clean).collect(),
                (Some(old), Some(changes)) if strategy.merge => self.lists(old, changes, field, strategy)?,
                (Some(_), Some(changes)) => changes,
            };
            original.insert(name.into(), Value::Array(in_order(merged, &order, &before, key)?));
        }
        Ok(())
    }

    fn lists(&self, old: Vec<Value>, new: Vec<Value>, ty: Option<TypeId>, strategy: &Strategy) -> Result<Vec<Value>, PatchError> {
        if old.is_empty() && new.is_empty() {
            return Ok(old);
        }
        if old.iter().chain(&new).any(Value::is_array) {
            return Err(PatchError::Unprocessable("lists of lists are not supported".into()));
        }
        let maps = old.iter().chain(&new).filter(|item| item.is_object()).count();
        if maps == 0 {
            let mut merged = old.clone();
            for item in &new {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            dedup(&mut merged);
            return in_order(merged, &new, &old, None);
        }
        if maps != old.len() + new.len() {
            return Err(PatchError::Unmergeable("list element types are not identical".into()));
        }
        let Some(key) = strategy.key.as_deref() else {
            return Err(PatchError::Unmergeable("cannot merge lists without merge key".into()));
        };
        let (mut merged, new) = special_items(old, new, key)?;
        let before = merged.clone();
        let order = new.clone();
        let item_type = self.item(ty);
        for item in new {
            let Value::Object(item) = item else { continue };
            let Some(id) = item.get(key) else { return Err(no_merge_key(&item, key)) };
            match merged.iter_mut().find(|other| other.get(key) == Some(id)) {
                Some(slot) => {
                    let Value::Object(old) = take(slot) else { continue };
                    *slot = Value::Object(self.maps(old, item, item_type)?);
                }
                None => merged.extend(clean(Value::Object(item))),
            }
        }
        in_order(merged, &order, &before, Some(key))
    }
}

/// Carries out and drops the items with a `$patch` directive: the list as it is now, and the rest of the patch.
fn special_items(mut old: Vec<Value>, new: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::new();
    let mut replace = false;
    for item in new {
        match item.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("delete") => match item.get(key) {
                Some(id) => old.retain(|other| other.get(key) != Some(id)),
                None => return Err(no_merge_key(item.as_object().unwrap_or(&Object::new()), key)),
            },
            Some("replace") => replace = true,
            Some("merge") => return Err(PatchError::Unmergeable("merging lists cannot yet be specified in the patch".into())),
            Some(other) => return Err(PatchError::Unmergeable(format!("unknown patch type: {other} in map: {item}"))),
        }
    }
    Ok(if replace { (plain.into_iter().filter_map(clean).collect(), Vec::new()) } else { (old, plain) })
}

/// Drops from the original what the directive does not list. Everything that the patch sets must be listed.
fn retain_keys(original: &mut Object, patch: &Object, retained: &Value) -> Result<(), PatchError> {
    let Value::Array(retained) = retained else { return Err(malformed("retainKeys")) };
    let kept = |key: &str| retained.iter().any(|k| k == key);
    let directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept(key)) {
        return Err(malformed("retainKeys"));
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// What tells an item from others: its merge key's value, or itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    let id = identity(item, key)?;
    list.iter().position(|other| identity(other, key) == Some(id))
}

/// The patch's items must come in the order that the directive gives, and all be in it.
fn check_order(changes: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if changes.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut wanted = order.iter();
    for item in changes.iter().filter(|item| item.get(PATCH).is_none()) {
        if let (Some(key), Value::Object(map)) = (key, item)
            && !map.contains_key(key)
        {
            return Err(no_merge_key(map, key));
        }
        if !wanted.any(|other| identity(other, key) == identity(item, key)) {
            return Err(PatchError::Unmergeable(format!(
                "The order in patch list:\n{}\n doesn't match {ELEMENT_ORDER} list:\n{}\n",
                Value::Array(changes.to_vec()),
                Value::Array(order.to_vec())
            )));
        }
    }
    Ok(())
}

/// Items that `order` names come in its order; the others keep theirs and are put among them by
/// where they stood in the object before.
fn in_order(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key {
        for item in items.iter().chain(order) {
            match item {
                Value::Object(map) if map.contains_key(key) => {}
                Value::Object(map) => return Err(no_merge_key(map, key)),
                other => return Err(wrong_type("map", other)),
            }
        }
    }
    let (mut named, mut others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| position(order, item, key).is_some());
    named.sort_by_key(|item| position(order, item, key));
    others.sort_by(|a, b| match (position(before, a, key), position(before, b, key)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    });
    let mut result = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(other), Some(name)) = (others.peek(), named.peek()) {
        let earlier = match (position(before, other, key), position(before, name, key)) {
            (Some(other), Some(name)) => other < name,
            _ => false,
        };
        result.extend(if earlier { others.next() } else { named.next() });
    }
    result.extend(others);
    result.extend(named);
    Ok(result)
}

fn dedup(items: &mut Vec<Value>) {
    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *items = kept;
}

/// A value that is new to the object: without nulls and directives, or nothing where it is a directive itself.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => Some(Value::Object(cleaned(map))),
        Value::Array(items) => Some(items.into_iter().filter_map(clean).collect()),
        other => Some(other),
    }
}

fn cleaned(map: Object) -> Object {
    let directive = |key: &str| key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER);
    map.into_iter()
        .filter(|(key, value)| !value.is_null() && !directive(key))
        .filter_map(|(key, value)| clean(value).map(|value| (key, value)))
        .collect()
}

#[cfg(test)]
mod tests;

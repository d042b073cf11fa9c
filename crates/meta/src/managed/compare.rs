//! What a write changed, as sets of paths. Only what differs is ever put into a set.

use super::set::{self, Set};
use super::shape::{Shape, Ty, Types};
use crate::schema::{Field, ListType, Schema, TypeId};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

/// Fields that say what or which an object is, or that only the server writes.
const UNOWNED: [&str; 9] = [
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
];

#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Added, or there before with another value.
    pub changed: Set,
    pub removed: Set,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares two whole objects, leaving aside what nobody owns.
pub(super) fn objects(schema: &Schema, old: Option<&Value>, new: &Value, reset: &[&str]) -> Comparison {
    let walk = Types(schema);
    let mut result = Comparison::default();
    walk.diff(walk.root(), Some(old.unwrap_or(&EMPTY)), Some(new), 0, &mut result);
    strip(&mut result.changed, reset);
    strip(&mut result.removed, reset);
    result
}

/// Takes out what no manager can own.
pub(super) fn strip(set: &mut Set, reset: &[&str]) {
    set.children.remove("f:apiVersion");
    set.children.remove("f:kind");
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.member = false;
        for name in UNOWNED {
            metadata.children.remove(name);
        }
        if metadata.is_empty() {
            set.children.remove("f:metadata");
        }
    }
    for path in reset {
        set.cut(path);
    }
}

fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

impl Types<'_> {
    /// At least one side is there. `depth` counts from the object's root.
    fn diff(self, ty: Ty, old: Option<&Value>, new: Option<&Value>, depth: usize, out: &mut Comparison) {
        let is_object = |value: Option<&Value>| value.is_some_and(Value::is_object);
        let fits = |shape: &Shape<'_>, value: Option<&Value>| match (shape, value) {
            (_, None | Some(Value::Null)) => true,
            (Shape::Struct(_) | Shape::Map(_), Some(value)) => value.is_object(),
            (Shape::List(..), Some(value)) => value.is_array(),
            (Shape::Leaf, _) => true,
        };
        let shape = self.shape(ty, is_object(old) || is_object(new));
        let whole = matches!(shape, Shape::Leaf) || (is_blank(old) && is_blank(new)) || !fits(&shape, old) || !fits(&shape, new);
        if whole {
            match (old, new) {
                (Some(old), Some(new)) if old == new => {}
                (_, Some(_)) => out.changed.member = true,
                (Some(_), None) => out.removed.member = true,
                (None, None) => {}
            }
            return;
        }
        match shape {
            Shape::Leaf => {}
            Shape::Struct(shape) => {
                let (before, after) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                zip(before, after, |key, before, after| {
                    let field = shape.field(key);
                    let before = before.or_else(|| implied(old, field));
                    self.diff_below(key, field.map(|f| f.ty), before, after, depth, out);
                });
            }
            Shape::Map(inner) => {
                zip(old.and_then(Value::as_object), new.and_then(Value::as_object), |key, before, after| {
                    self.diff_below(key, inner, before, after, depth, out);
                });
            }
            Shape::List(item_type, list_type) => {
                self.diff_lists(item_type, list_type, items(old), items(new), depth, out);
            }
        }
        match (old, new) {
            (None, _) => out.changed.member = true,
            (_, None) => out.removed.member = true,
            _ => {}
        }
    }

    fn diff_below(self, key: &str, ty: Ty, old: Option<&Value>, new: Option<&Value>, depth: usize, out: &mut Comparison) {
        // These are large, always different, and never owned.
        if depth == 1 && key == "managedFields" {
            return;
        }
        let mut child = Comparison::default();
        self.diff(ty, old, new, depth + 1, &mut child);
        out.changed.put(|| set::field(key), child.changed);
        out.removed.put(|| set::field(key), child.removed);
    }

    fn diff_lists(self, item_type: TypeId, list_type: &ListType, old: &[Value], new: &[Value], depth: usize, out: &mut Comparison) {
        if old == new {
            return;
        }
        let mut sides: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in old {
            if let Ok(key) = self.element(item_type, list_type, item) {
                sides.entry(key).or_default().0.push(item);
            }
        }
        for item in new {
            if let Ok(key) = self.element(item_type, list_type, item) {
                sides.entry(key).or_default().1.push(item);
            }
        }
        for (key, (before, after)) in sides {
            let mut child = Comparison::default();
            let ty = Some(item_type);
            match (&before[..], &after[..]) {
                // An item that is there several times is owned as a whole.
                ([_, _, ..], [_, _, ..]) => child.changed.member = before != after,
                ([_, _, ..], after) => {
                    if let Some(after) = after.first() {
                        self.diff(ty, None, Some(after), depth + 1, &mut child);
                    }
                    child.removed.member = true;
                }
                (before, [_, _, ..]) => {
                    if let Some(before) = before.first() {
                        self.diff(ty, Some(before), None, depth + 1, &mut child);
                    }
                    child.changed.member = true;
                }
                (before, after) => self.diff(ty, before.first().copied(), after.first().copied(), depth + 1, &mut child),
            }
            out.changed.put(|| key.clone(), child.changed);
            out.removed.put(|| key, child.removed);
        }
    }
}

/// A field that a Go struct always shows counts as there before, so that filling it is not adding it.
fn implied(parent: Option<&Value>, field: Option<&Field>) -> Option<&'static Value> {
    let always = |f: &Field| f.required || f.default.as_ref().is_some_and(|d| d.as_object().is_some_and(Map::is_empty));
    let there = parent.is_some() && field.is_some_and(always);
    there.then(|| &*EMPTY)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Visits the keys of both maps in order.
fn zip(old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, mut visit: impl FnMut(&str, Option<&Value>, Option<&Value>)) {
    for (key, before) in old.into_iter().flatten() {
        visit(key, Some(before), new.and_then(|m| m.get(key)));
    }
    for (key, after) in new.into_iter().flatten() {
        if !old.is_some_and(|m| m.contains_key(key)) {
            visit(key, None, Some(after));
        }
    }
}

//! Which part of an old object a part of the new one was.

use meta::value;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The items of an old list by their keys, where the list is one of items with keys.
pub struct OldItems<'o> {
    names: Vec<&'o str>,
    by_key: HashMap<String, &'o Value>,
}

impl<'o> OldItems<'o> {
    pub fn new(schema: &'o Value, old: Option<&'o Value>) -> Self {
        let mut items = Self { names: Vec::new(), by_key: HashMap::new() };
        if value::text(schema, &["x-kubernetes-list-type"]) != "map" {
            return items;
        }
        items.names = value::items(schema, &["x-kubernetes-list-map-keys"]).iter().filter_map(Value::as_str).collect();
        for item in old.and_then(Value::as_array).into_iter().flatten() {
            if let Some(key) = items.key(item) {
                items.by_key.entry(key).or_insert(item);
            }
        }
        items
    }

    fn key(&self, item: &Value) -> Option<String> {
        let map = item.as_object()?;
        let parts: Vec<&Value> = self.names.iter().map(|name| map.get(*name).unwrap_or(&Value::Null)).collect();
        serde_json::to_string(&parts).ok()
    }

    pub fn get(&self, item: &Value) -> Option<&'o Value> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(&self.key(item)?).copied()
    }
}

/// The old value of a field, where fields can be told apart.
pub fn old_field<'o>(schema: &Value, old: Option<&'o Value>, name: &str) -> Option<&'o Value> {
    match schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
        None | Some("granular" | "atomic") => old.and_then(Value::as_object).and_then(|old: &Map<String, Value>| old.get(name)),
        Some(_) => None,
    }
}

/// Whether an error at a place is one that the old object had as well: the place is as it was, or what is around it where
/// it cannot be told what the place was.
#[derive(Clone, Copy)]
pub struct Ratchet<'o> {
    /// The new value and the old one of the nearest place that could be told.
    nearest: Option<(&'o Value, &'o Value)>,
    /// Whether that is the place itself.
    here: bool,
}

impl<'o> Ratchet<'o> {
    /// Nothing is let through.
    pub const NONE: Ratchet<'static> = Ratchet { nearest: None, here: false };

    pub fn new(new: &'o Value, old: Option<&'o Value>) -> Self {
        Self { nearest: old.map(|old| (new, old)), here: old.is_some() }
    }

    #[must_use]
    pub fn inside(self, new: &'o Value, old: Option<&'o Value>) -> Self {
        match old {
            Some(old) if self.here => Self { nearest: Some((new, old)), here: true },
            _ => Self { here: false, ..self },
        }
    }

    pub fn lets_through(self) -> bool {
        self.nearest.is_some_and(|(new, old)| new == old)
    }
}

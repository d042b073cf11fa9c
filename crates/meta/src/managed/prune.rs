//! Taking out of an object what its applier no longer wants.

use super::entries::Entry;
use super::set::{self, Set};
use super::shape::{Shape, Ty, Types};
use serde_json::{Map, Value};

impl Types<'_> {
    /// The value without the members of `gone`; `None` for what goes as a whole. What merely got empty stays, since
    /// somebody wants it.
    fn without(self, ty: Ty, value: &Value, gone: &Set) -> Option<Value> {
        let map = |map: &Map<String, Value>, ty: &dyn Fn(&str) -> Ty| {
            let left = map.iter().filter_map(|(key, value)| match gone.children.get(&set::field(key)) {
                Some(gone) if gone.member => None,
                Some(gone) => Some((key.clone(), self.without(ty(key), value, gone)?)),
                None => Some((key.clone(), value.clone())),
            });
            Some(Value::Object(left.collect()))
        };
        match (self.shape(ty, value.is_object()), value) {
            (Shape::Struct(shape), Value::Object(fields)) => map(fields, &|key| shape.field(key).map(|f| f.ty)),
            (Shape::Map(inner), Value::Object(fields)) => map(fields, &|_| inner),
            (Shape::List(item_type, list_type), Value::Array(items)) => {
                let left = items.iter().filter_map(|item| {
                    let key = self.element(item_type, list_type, item).ok();
                    match key.and_then(|key| gone.children.get(&key)) {
                        Some(gone) if gone.member => None,
                        Some(gone) => self.without(Some(item_type), item, gone),
                        None => Some(item.clone()),
                    }
                });
                Some(Value::Array(left.collect()))
            }
            (Shape::Leaf, Value::Object(_) | Value::Array(_)) => None,
            _ => Some(value.clone()),
        }
    }

    fn minus(self, value: &Value, gone: &Set) -> Value {
        self.without(self.root(), value, gone).unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// All that is in a value, with the structs on the way to it.
    fn everything(self, value: &Value) -> Set {
        self.with_named_fields(self.root(), &self.fields(self.root(), value))
    }

    /// Takes out of `merged` what was in the applier's `last` set and what nobody in `managers` (the applier with its
    /// new set among them) owns now. What others added below goes only with an item that the applier itself owned.
    pub fn prune(self, merged: Value, last: &Set, managers: &[Entry]) -> Value {
        let last = self.with_named_fields(self.root(), last);
        let pruned = self.minus(&merged, &last);
        let everything = self.everything(&merged);
        let mut kept = self.everything(&pruned);
        for manager in managers {
            if let Ok(owned) = Set::from_map(&manager.fields) {
                kept.union(&self.with_named_fields(self.root(), &owned));
            }
        }
        let pruned = self.minus(&merged, &everything.difference(&kept));
        let gone = everything.difference(&self.everything(&pruned)).intersection(&last);
        self.minus(&merged, &gone)
    }
}

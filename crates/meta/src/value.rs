//! Reading and writing an object as a JSON tree, without a line of matching per step.

use serde_json::{Map, Value};

/// The value at a path of object keys; `None` as soon as a step is missing or not an object.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |v, key| v.get(*key))
}

/// The text at a path, or `""`.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or("")
}

pub fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

pub fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The items of the list at a path, or none.
pub fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn items_mut<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut [Value] {
    at_mut(value, path).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

pub fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |v, key| v.get_mut(*key))
}

/// The object at a path, made (replacing what is not an object) where it is missing.
pub fn object<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut here = value;
    for key in path {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        here = match here {
            Value::Object(map) => map.entry(*key).or_insert(Value::Null),
            _ => unreachable!("made an object above"),
        };
    }
    if !here.is_object() {
        *here = Value::Object(Map::new());
    }
    match here {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Sets `path`, making the objects on the way.
pub fn set(value: &mut Value, path: &[&str], to: impl Into<Value>) {
    if let Some((last, parents)) = path.split_last() {
        object(value, parents).insert((*last).into(), to.into());
    }
}

/// Sets `path` where it is missing or null. The form most defaults take.
pub fn default(value: &mut Value, path: &[&str], to: impl Into<Value>) {
    if let Some((last, parents)) = path.split_last() {
        let slot = object(value, parents).entry(*last).or_insert(Value::Null);
        if slot.is_null() {
            *slot = to.into();
        }
    }
}

/// The same for what upstream keeps by value, where an empty text and a zero are as good as nothing.
pub fn fill(value: &mut Value, path: &[&str], to: impl Into<Value>) {
    let empty = match at(value, path) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(_) => false,
    };
    if empty {
        set(value, path, to);
    }
}

/// Takes `path` out, leaving its parents.
pub fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    at_mut(value, parents)?.as_object_mut()?.remove(*last)
}

/// Copies `path` from `from` to `to`, or removes it there where `from` has none.
pub fn carry(to: &mut Value, from: &Value, path: &[&str]) {
    match at(from, path) {
        Some(v) => set(to, path, v.clone()),
        None => {
            remove(to, path);
        }
    }
}

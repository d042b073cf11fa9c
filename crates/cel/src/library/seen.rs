//! A set of values, in which look-ups of plain values take no time that grows.

use super::equal;
use crate::error::EvalError;
use crate::value::Value;
use std::collections::HashSet;

#[derive(Default)]
pub struct Seen<'a> {
    plain: HashSet<Plain>,
    others: Vec<Value<'a>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Plain {
    Bool(bool),
    Int(i64),
    String(String),
}

fn plain(value: &Value) -> Option<Plain> {
    match value {
        Value::Bool(v) => Some(Plain::Bool(*v)),
        Value::Int(v) => Some(Plain::Int(*v)),
        Value::String(v) => Some(Plain::String(v.as_str().into())),
        _ => None,
    }
}

impl<'a> Seen<'a> {
    pub fn of(items: &[Value<'a>]) -> Result<Self, EvalError> {
        let mut seen = Self::default();
        for item in items {
            seen.add(item)?;
        }
        Ok(seen)
    }

    pub fn contains(&self, value: &Value<'a>) -> Result<bool, EvalError> {
        if let Some(plain) = plain(value) {
            if self.plain.contains(&plain) {
                return Ok(true);
            }
            // An integer may be equal to a number of another kind.
            if !matches!(value, Value::Int(_)) {
                return Ok(false);
            }
        } else if matches!(value, Value::Uint(_) | Value::Double(_)) {
            for plain in &self.plain {
                if let Plain::Int(v) = plain
                    && equal(&Value::Int(*v), value)?
                {
                    return Ok(true);
                }
            }
        }
        super::compare::contains(&self.others, value)
    }

    /// Whether it is new.
    pub fn add(&mut self, value: &Value<'a>) -> Result<bool, EvalError> {
        if self.contains(value)? {
            return Ok(false);
        }
        match plain(value) {
            Some(plain) => {
                self.plain.insert(plain);
            }
            None => self.others.push(value.clone()),
        }
        Ok(true)
    }
}

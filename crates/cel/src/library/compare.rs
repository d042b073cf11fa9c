//! Which values are equal, and which come first.

use crate::error::EvalError;
use crate::evaluate::work;
use crate::types::ListKind;
use crate::value::{List, Map, Value};
use std::cmp::Ordering;

/// Values of different kinds are not equal, and numbers of different kinds are by what they stand for.
pub fn equal(a: &Value, b: &Value) -> Result<bool, EvalError> {
    work::spend(1)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => a.as_str() == b.as_str(),
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => return equal(a, b),
        (Value::List(a), Value::List(b)) => return lists(a, b),
        (Value::Map(a), Value::Map(b)) => return maps(a, b),
        (Value::Opaque(a), Value::Opaque(b)) => a.equal(b)?,
        (a, b) => numbers(a, b) == Some(Ordering::Equal),
    })
}

fn maps(a: &Map, b: &Map) -> Result<bool, EvalError> {
    if let (Map::Struct(a, _), Map::Struct(b, _)) = (a, b)
        && a != b
    {
        return Ok(false);
    }
    let entries = a.entries();
    if entries.len() != b.len() {
        return Ok(false);
    }
    for (key, value) in &entries {
        match b.get(key) {
            Some(other) if equal(value, &other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn lists(a: &List, b: &List) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind.or(b.kind) {
        // The order of a set, or of a list with keys, says nothing.
        Some(ListKind::Set | ListKind::Map(_)) => {
            let others: Vec<Value> = b.iter().collect();
            for item in a.iter() {
                if !contains(&others, &item)? {
                    return Ok(false);
                }
            }
        }
        _ => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(&a, &b)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

pub fn contains(items: &[Value], wanted: &Value) -> Result<bool, EvalError> {
    for item in items {
        if equal(item, wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Double(a), b) => whole_and_double(b, *a).map(Ordering::reverse),
        (a, Value::Double(b)) => whole_and_double(a, *b),
        _ => None,
    }
}

fn whole_and_double(whole: &Value, double: f64) -> Option<Ordering> {
    let whole = match whole {
        Value::Int(v) => i128::from(*v),
        Value::Uint(v) => i128::from(*v),
        _ => return None,
    };
    if double.is_nan() {
        return None;
    }
    if double.abs() >= 2f64.powi(65) {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = double.floor();
    Some(whole.cmp(&(floor as i128)).then(if floor < double { Ordering::Less } else { Ordering::Equal }))
}

/// None where one is not a number at all; an error where they have no order.
pub fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, EvalError> {
    Ok(Some(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.as_str().cmp(b.as_str()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => return Ok(numbers(a, b)),
        _ => return Err(EvalError::overload()),
    }))
}

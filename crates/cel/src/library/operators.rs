//! Operators: arithmetic that tells of overflow, comparison, membership and indices.

use super::{compare, equal};
use crate::error::EvalError;
use crate::evaluate::work;
use crate::functions::{Function, Overload, T, function, of};
use crate::time;
use crate::types::ListKind;
use crate::value::{Items, List, Map, Value};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;
use std::sync::Arc;

type Done<'a> = Result<Value<'a>, EvalError>;

const LIST: T = T::List(&T::A);
const MAP: T = T::Map(&T::A, &T::B);

const ORDERED: &[Overload] = &[
    of(&[T::Bool, T::Bool], T::Bool),
    of(&[T::Int, T::Int], T::Bool),
    of(&[T::Int, T::Uint], T::Bool),
    of(&[T::Int, T::Double], T::Bool),
    of(&[T::Uint, T::Uint], T::Bool),
    of(&[T::Uint, T::Int], T::Bool),
    of(&[T::Uint, T::Double], T::Bool),
    of(&[T::Double, T::Double], T::Bool),
    of(&[T::Double, T::Int], T::Bool),
    of(&[T::Double, T::Uint], T::Bool),
    of(&[T::String, T::String], T::Bool),
    of(&[T::Bytes, T::Bytes], T::Bool),
    of(&[T::Timestamp, T::Timestamp], T::Bool),
    of(&[T::Duration, T::Duration], T::Bool),
];

const NUMBERS: &[Overload] = &[of(&[T::Int, T::Int], T::Int), of(&[T::Uint, T::Uint], T::Uint), of(&[T::Double, T::Double], T::Double)];

macro_rules! ordered {
    ($orders:pat) => {
        |args| match args {
            [a, b] => Ok(Value::Bool(matches!(compare(a, b)?, Some($orders)))),
            _ => Err(EvalError::overload()),
        }
    };
}
pub const FUNCTIONS: &[Function] = &[
    // These three evaluate what they need; see the checker.
    function("_&&_", &[of(&[T::Bool, T::Bool], T::Bool)], never),
    function("_||_", &[of(&[T::Bool, T::Bool], T::Bool)], never),
    function("_?_:_", &[of(&[T::Bool, T::A, T::A], T::A)], never),
    function("@not_strictly_false", &[of(&[T::Bool], T::Bool)], never),
    function("cel.@mapInsert", &[of(&[MAP, T::A, T::B], MAP), of(&[MAP, MAP], MAP)], never),
    function("!_", &[of(&[T::Bool], T::Bool)], not),
    function("-_", &[of(&[T::Int], T::Int), of(&[T::Double], T::Double)], negate),
    function(
        "_+_",
        &[
            of(&[T::Int, T::Int], T::Int),
            of(&[T::Uint, T::Uint], T::Uint),
            of(&[T::Double, T::Double], T::Double),
            of(&[T::String, T::String], T::String),
            of(&[T::Bytes, T::Bytes], T::Bytes),
            of(&[LIST, LIST], LIST),
            of(&[T::Timestamp, T::Duration], T::Timestamp),
            of(&[T::Duration, T::Timestamp], T::Timestamp),
            of(&[T::Duration, T::Duration], T::Duration),
        ],
        add,
    ),
    function(
        "_-_",
        &[
            of(&[T::Int, T::Int], T::Int),
            of(&[T::Uint, T::Uint], T::Uint),
            of(&[T::Double, T::Double], T::Double),
            of(&[T::Timestamp, T::Timestamp], T::Duration),
            of(&[T::Timestamp, T::Duration], T::Timestamp),
            of(&[T::Duration, T::Duration], T::Duration),
        ],
        subtract,
    ),
    function("_*_", NUMBERS, multiply),
    function("_/_", NUMBERS, divide),
    function("_%_", &[of(&[T::Int, T::Int], T::Int), of(&[T::Uint, T::Uint], T::Uint)], modulus),
    function("_==_", &[of(&[T::A, T::A], T::Bool)], is_equal),
    function("_!=_", &[of(&[T::A, T::A], T::Bool)], is_not_equal),
    function("_<_", ORDERED, ordered!(Ordering::Less)),
    function("_<=_", ORDERED, ordered!(Ordering::Less | Ordering::Equal)),
    function("_>_", ORDERED, ordered!(Ordering::Greater)),
    function("_>=_", ORDERED, ordered!(Ordering::Greater | Ordering::Equal)),
    function("@in", &[of(&[T::A, LIST], T::Bool), of(&[T::A, MAP], T::Bool)], is_in),
    function(
        "_[_]",
        &[
            of(&[LIST, T::Int], T::A),
            of(&[MAP, T::A], T::B),
            of(&[T::Optional(&LIST), T::Int], T::Optional(&T::A)),
            of(&[T::Optional(&MAP), T::A], T::Optional(&T::B)),
        ],
        index,
    ),
    function(
        "_[?_]",
        &[
            of(&[LIST, T::Int], T::Optional(&T::A)),
            of(&[MAP, T::A], T::Optional(&T::B)),
            of(&[T::Optional(&LIST), T::Int], T::Optional(&T::A)),
            of(&[T::Optional(&MAP), T::A], T::Optional(&T::B)),
        ],
        optional_index,
    ),
];

fn never<'a>(_: &[Value<'a>]) -> Done<'a> {
    Err(EvalError::overload())
}

fn not<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Bool(v)] => Ok(Value::Bool(!v)),
        _ => Err(EvalError::overload()),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Int(v)] => v.checked_neg().map(Value::Int).ok_or(EvalError::Overflow("integer")),
        [Value::Double(v)] => Ok(Value::Double(-v)),
        _ => Err(EvalError::overload()),
    }
}

fn int<'a>(result: Option<i64>) -> Done<'a> {
    result.map(Value::Int).ok_or(EvalError::Overflow("integer"))
}

fn uint<'a>(result: Option<u64>) -> Done<'a> {
    result.map(Value::Uint).ok_or(EvalError::Overflow("unsigned integer"))
}

fn duration<'a>(result: Option<i64>) -> Done<'a> {
    result.map(Value::Duration).ok_or(EvalError::Overflow("duration"))
}

fn moved<'a>(timestamp: Timestamp, by: i64, back: bool) -> Done<'a> {
    let by = SignedDuration::from_nanos(by);
    let moved = if back { timestamp.checked_sub(by) } else { timestamp.checked_add(by) };
    match moved {
        Ok(moved) if time::in_range(moved) => Ok(Value::Timestamp(moved)),
        _ => Err(EvalError::Overflow("timestamp")),
    }
}

pub fn add<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_add(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_add(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
        [Value::String(a), Value::String(b)] => Ok(format!("{}{}", a.as_str(), b.as_str()).into()),
        [Value::Bytes(a), Value::Bytes(b)] => Ok(Value::Bytes([&a[..], &b[..]].concat().into())),
        [Value::List(a), Value::List(b)] => join(a, b),
        [Value::Timestamp(t), Value::Duration(d)] | [Value::Duration(d), Value::Timestamp(t)] => moved(*t, *d, false),
        [Value::Duration(a), Value::Duration(b)] => duration(a.checked_add(*b)),
        _ => Err(EvalError::overload()),
    }
}

/// Two sets make one set, two lists with keys one list in which the second's items replace the first's.
fn join<'a>(a: &List<'a>, b: &List<'a>) -> Done<'a> {
    work::spend((a.len() + b.len()) as u64)?;
    let mut items: Vec<Value<'a>> = a.iter().collect();
    match a.kind {
        Some(ListKind::Set) => {
            let mut seen = super::seen::Seen::of(&items)?;
            for item in b.iter() {
                if seen.add(&item)? {
                    items.push(item);
                }
            }
        }
        Some(ListKind::Map(keys)) => {
            let names: Vec<String> = keys.iter().filter_map(|key| crate::escape(key)).collect();
            let key = |item: &Value<'a>| match item {
                Value::Map(map) => format!("{:?}", names.iter().map(|name| map.field(name)).collect::<Vec<_>>()),
                _ => String::new(),
            };
            let mut places: std::collections::HashMap<String, usize> = items.iter().enumerate().map(|(at, item)| (key(item), at)).collect();
            for item in b.iter() {
                match places.get(&key(&item)) {
                    Some(at) => items[*at] = item,
                    None => {
                        places.insert(key(&item), items.len());
                        items.push(item);
                    }
                }
            }
        }
        _ => items.extend(b.iter()),
    }
    Ok(Value::List(List { items: Items::Owned(Arc::new(items)), kind: a.kind }))
}

fn subtract<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Timestamp(a), Value::Timestamp(b)] => duration(i64::try_from(a.duration_since(*b).as_nanos()).ok()),
        [Value::Timestamp(t), Value::Duration(d)] => moved(*t, *d, true),
        [Value::Duration(a), Value::Duration(b)] => duration(a.checked_sub(*b)),
        _ => Err(EvalError::overload()),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(EvalError::overload()),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::DivideByZero),
        [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_div(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(EvalError::overload()),
    }
}

fn modulus<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(EvalError::ModulusByZero),
        [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_rem(*b)),
        _ => Err(EvalError::overload()),
    }
}

fn is_equal<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [a, b] => Ok(Value::Bool(equal(a, b)?)),
        _ => Err(EvalError::overload()),
    }
}

fn is_not_equal<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [a, b] => Ok(Value::Bool(!equal(a, b)?)),
        _ => Err(EvalError::overload()),
    }
}

fn is_in<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [item, Value::List(list)] => {
            for other in list.iter() {
                if equal(item, &other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        [key, Value::Map(map)] => Ok(Value::Bool(map.get(key).is_some())),
        _ => Err(EvalError::overload()),
    }
}

/// As an index into a list: a number that is whole, of whatever kind.
fn place(index: &Value) -> Option<i64> {
    match index {
        Value::Int(v) => Some(*v),
        Value::Uint(v) => i64::try_from(*v).ok(),
        Value::Double(v) if v.fract() == 0.0 && v.abs() < 9.0e15 => Some(*v as i64),
        _ => None,
    }
}

fn found<'a>(container: &Value<'a>, index: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    match container {
        Value::List(list) => {
            let at = place(index).ok_or_else(|| EvalError::failed(format!("unsupported index type '{}' in list", index.type_name())))?;
            Ok(usize::try_from(at).ok().and_then(|at| list.get(at)))
        }
        Value::Map(map) => Ok(map.get(index)),
        _ => Err(EvalError::overload()),
    }
}

fn index<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Optional(_), _] => optional_index(args),
        [container, index] => found(container, index)?.ok_or_else(|| match container {
            Value::List(_) => EvalError::OutOfBounds(place(index).unwrap_or(-1).to_string()),
            Value::Map(Map::Object(..)) | Value::Map(_) => EvalError::NoSuchKey(super::standard::text_of(index).unwrap_or_default()),
            _ => EvalError::overload(),
        }),
        _ => Err(EvalError::overload()),
    }
}

fn optional_index<'a>(args: &[Value<'a>]) -> Done<'a> {
    let found = match args {
        [Value::Optional(None), _] => None,
        [Value::Optional(Some(container)), index] => found(container, index)?,
        [container, index] => found(container, index)?,
        _ => return Err(EvalError::overload()),
    };
    Ok(found.map_or_else(Value::none, Value::some))
}

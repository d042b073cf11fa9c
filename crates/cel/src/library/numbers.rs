//! Quantities and versions.

use super::Opaque;
use crate::error::EvalError;
use crate::functions::{Function, Overload, T, function, of, on};
use crate::value::Value;
use meta::quantity::Quantity;
use semver::Version;
use std::cmp::Ordering;
use std::sync::Arc;

pub const QUANTITY: &str = "kubernetes.Quantity";
pub const SEMVER: &str = "kubernetes.Semver";
pub const NAMES: &[&str] = &[QUANTITY, SEMVER];
const Q: T = T::Opaque(QUANTITY);
const S: T = T::Opaque(SEMVER);

type Done<'a> = Result<Value<'a>, EvalError>;
const ORDER: &[Overload] = &[on(&[Q, Q], T::Bool), on(&[S, S], T::Bool)];
const SUMS: &[Overload] = &[on(&[Q, Q], Q), on(&[Q, T::Int], Q)];

pub const FUNCTIONS: &[Function] = &[
    function("quantity", &[of(&[T::String], Q)], |args| match args {
        [Value::String(text)] => Quantity::parse(text.as_str()).map(quantity).map_err(|error| EvalError::failed(error.to_string())),
        _ => Err(EvalError::overload()),
    }),
    function("isQuantity", &[of(&[T::String], T::Bool)], |args| match args {
        [Value::String(text)] => Ok(Value::Bool(Quantity::parse(text.as_str()).is_ok())),
        _ => Err(EvalError::overload()),
    }),
    function("sign", &[on(&[Q], T::Int), of(&[Q], T::Int)], |args| with(args, |q| Ok(Value::Int(i64::from(q.signum()))))),
    function("isInteger", &[on(&[Q], T::Bool)], |args| with(args, |q| Ok(Value::Bool(whole(q).is_some())))),
    function("asInteger", &[on(&[Q], T::Int)], |args| {
        with(args, |q| whole(q).map(Value::Int).ok_or_else(|| EvalError::failed("cannot convert value to integer")))
    }),
    function("asApproximateFloat", &[on(&[Q], T::Double)], |args| with(args, |q| Ok(Value::Double(q.to_f64())))),
    function("add", SUMS, |args| sum(args, false)),
    function("sub", SUMS, |args| sum(args, true)),
    function("isGreaterThan", ORDER, |args| Ok(Value::Bool(order(args)? == Ordering::Greater))),
    function("isLessThan", ORDER, |args| Ok(Value::Bool(order(args)? == Ordering::Less))),
    function("compareTo", &[on(&[Q, Q], T::Int), on(&[S, S], T::Int)], |args| Ok(Value::Int(order(args)? as i64))),
    function("semver", &[of(&[T::String], S), of(&[T::String, T::Bool], S)], |args| {
        version(args)?.map(|v| Value::Opaque(Opaque::Semver(Arc::new(v)))).map_err(EvalError::failed)
    }),
    function("isSemver", &[of(&[T::String], T::Bool), of(&[T::String, T::Bool], T::Bool)], |args| Ok(Value::Bool(version(args)?.is_ok()))),
    function("major", &[on(&[S], T::Int)], |args| part(args, |v| v.major)),
    function("minor", &[on(&[S], T::Int)], |args| part(args, |v| v.minor)),
    function("patch", &[on(&[S], T::Int)], |args| part(args, |v| v.patch)),
];

fn quantity<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(quantity))
}

fn with<'a>(args: &[Value<'a>], read: impl FnOnce(&Quantity) -> Done<'a>) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Quantity(quantity))] => read(quantity),
        _ => Err(EvalError::overload()),
    }
}

/// As a whole number, where it is one.
fn whole(quantity: &Quantity) -> Option<i64> {
    let value = quantity.value();
    (Quantity::new(value).cmp(quantity) == Ordering::Equal).then_some(value)
}

fn sum<'a>(args: &[Value<'a>], less: bool) -> Done<'a> {
    let (mut total, other) = match args {
        [Value::Opaque(Opaque::Quantity(a)), Value::Opaque(Opaque::Quantity(b))] => (*a, *b),
        [Value::Opaque(Opaque::Quantity(a)), Value::Int(b)] => (*a, Quantity::new(*b)),
        _ => return Err(EvalError::overload()),
    };
    if less {
        total.sub(&other);
    } else {
        total.add(&other);
    }
    Ok(quantity(total))
}

fn order(args: &[Value]) -> Result<Ordering, EvalError> {
    match args {
        [Value::Opaque(Opaque::Quantity(a)), Value::Opaque(Opaque::Quantity(b))] => Ok(a.cmp(b)),
        [Value::Opaque(Opaque::Semver(a)), Value::Opaque(Opaque::Semver(b))] => Ok(a.cmp_precedence(b)),
        _ => Err(EvalError::overload()),
    }
}

/// With `true` after it, what is written loosely is read as well: `v1.2`, `01.2.3`.
fn version(args: &[Value]) -> Result<Result<Version, String>, EvalError> {
    let text = match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => text.as_str().to_string(),
        [Value::String(text), Value::Bool(true)] => normalized(text.as_str()),
        _ => return Err(EvalError::overload()),
    };
    Ok(Version::parse(&text).map_err(|error| error.to_string()))
}

fn normalized(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        // A version that is cut short has nothing behind it.
        return text.into();
    }
    while parts.len() < 3 {
        parts.push("0".into());
    }
    parts.join(".")
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.into();
    }
    let trimmed = part.trim_start_matches('0');
    if trimmed.starts_with(|c: char| c.is_ascii_digit()) { trimmed.into() } else { format!("0{trimmed}") }
}

fn part<'a>(args: &[Value<'a>], read: impl FnOnce(&Version) -> u64) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Semver(version))] => Ok(Value::Int(i64::try_from(read(version)).unwrap_or(i64::MAX))),
        _ => Err(EvalError::overload()),
    }
}

//! The language's own functions: conversions, sizes, text, time, optional values.

use crate::error::EvalError;
use crate::functions::{Function, Overload, T, function, of, on};
use crate::value::Value;
use crate::{regex, time};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

type Done<'a> = Result<Value<'a>, EvalError>;

const FROM_TIME: &[Overload] = &[on(&[T::Timestamp], T::Int), on(&[T::Timestamp, T::String], T::Int), on(&[T::Duration], T::Int)];
const FROM_DATE: &[Overload] = &[on(&[T::Timestamp], T::Int), on(&[T::Timestamp, T::String], T::Int)];
const ON_TEXT: &[Overload] = &[on(&[T::String, T::String], T::Bool)];

pub const FUNCTIONS: &[Function] = &[
    function("bool", &[of(&[T::Bool], T::Bool), of(&[T::String], T::Bool)], to_bool),
    function("bytes", &[of(&[T::Bytes], T::Bytes), of(&[T::String], T::Bytes)], to_bytes),
    function(
        "double",
        &[of(&[T::Double], T::Double), of(&[T::Int], T::Double), of(&[T::String], T::Double), of(&[T::Uint], T::Double)],
        to_double,
    ),
    function("duration", &[of(&[T::Duration], T::Duration), of(&[T::String], T::Duration)], to_duration),
    function("dyn", &[of(&[T::A], T::Dyn)], |args| args.first().cloned().ok_or_else(EvalError::overload)),
    function(
        "int",
        &[
            of(&[T::Int], T::Int),
            of(&[T::Double], T::Int),
            of(&[T::String], T::Int),
            of(&[T::Uint], T::Int),
            of(&[T::Timestamp], T::Int),
            of(&[T::Duration], T::Int),
        ],
        to_int,
    ),
    function(
        "string",
        &[
            of(&[T::String], T::String),
            of(&[T::Bool], T::String),
            of(&[T::Bytes], T::String),
            of(&[T::Double], T::String),
            of(&[T::Int], T::String),
            of(&[T::Uint], T::String),
            of(&[T::Timestamp], T::String),
            of(&[T::Duration], T::String),
            of(&[T::Opaque(super::net::IP)], T::String),
            of(&[T::Opaque(super::net::CIDR)], T::String),
        ],
        to_string,
    ),
    function("timestamp", &[of(&[T::Timestamp], T::Timestamp), of(&[T::String], T::Timestamp), of(&[T::Int], T::Timestamp)], to_timestamp),
    function("type", &[of(&[T::A], T::Type(&T::A))], |args| match args {
        [value] => Ok(Value::Type(value.type_name().into())),
        _ => Err(EvalError::overload()),
    }),
    function("uint", &[of(&[T::Uint], T::Uint), of(&[T::Double], T::Uint), of(&[T::Int], T::Uint), of(&[T::String], T::Uint)], to_uint),
    function(
        "size",
        &[
            of(&[T::String], T::Int),
            of(&[T::Bytes], T::Int),
            of(&[T::List(&T::A)], T::Int),
            of(&[T::Map(&T::A, &T::B)], T::Int),
            on(&[T::String], T::Int),
            on(&[T::Bytes], T::Int),
            on(&[T::List(&T::A)], T::Int),
            on(&[T::Map(&T::A, &T::B)], T::Int),
        ],
        size,
    ),
    function("contains", ON_TEXT, |args| text(args, |a, b| Ok(Value::Bool(a.contains(b))))),
    function("startsWith", ON_TEXT, |args| text(args, |a, b| Ok(Value::Bool(a.starts_with(b))))),
    function("endsWith", ON_TEXT, |args| text(args, |a, b| Ok(Value::Bool(a.ends_with(b))))),
    function("matches", &[on(&[T::String, T::String], T::Bool), of(&[T::String, T::String], T::Bool)], |args| {
        text(args, |text, pattern| Ok(Value::Bool(regex::compile(pattern).map_err(EvalError::failed)?.is_match(text))))
    }),
    function("getFullYear", FROM_DATE, |args| date(args, |d| i64::from(d.year()))),
    function("getMonth", FROM_DATE, |args| date(args, |d| i64::from(d.month()) - 1)),
    function("getDate", FROM_DATE, |args| date(args, |d| i64::from(d.day()))),
    function("getDayOfMonth", FROM_DATE, |args| date(args, |d| i64::from(d.day()) - 1)),
    function("getDayOfWeek", FROM_DATE, |args| date(args, |d| i64::from(d.weekday().to_sunday_zero_offset()))),
    function("getDayOfYear", FROM_DATE, |args| date(args, |d| i64::from(d.day_of_year()) - 1)),
    function("getHours", FROM_TIME, |args| clock(args, |d| i64::from(d.hour()), 3_600_000_000_000)),
    function("getMinutes", FROM_TIME, |args| clock(args, |d| i64::from(d.minute()), 60_000_000_000)),
    function("getSeconds", FROM_TIME, |args| clock(args, |d| i64::from(d.second()), 1_000_000_000)),
    function("getMilliseconds", FROM_TIME, |args| clock(args, |d| i64::from(d.millisecond()), 1_000_000)),
    function("optional.of", &[of(&[T::A], T::Optional(&T::A))], |args| one(args, |v| Ok(Value::some(v.clone())))),
    function("optional.none", &[of(&[], T::Optional(&T::A))], |_| Ok(Value::none())),
    function("optional.ofNonZeroValue", &[of(&[T::A], T::Optional(&T::A))], |args| {
        one(args, |v| Ok(if is_zero(v) { Value::none() } else { Value::some(v.clone()) }))
    }),
    function("hasValue", &[on(&[T::Optional(&T::A)], T::Bool)], |args| match args {
        [Value::Optional(inner)] => Ok(Value::Bool(inner.is_some())),
        _ => Err(EvalError::overload()),
    }),
    function("value", &[on(&[T::Optional(&T::A)], T::A)], |args| match args {
        [Value::Optional(Some(inner))] => Ok((**inner).clone()),
        [Value::Optional(None)] => Err(EvalError::failed("optional.none() dereference")),
        _ => Err(EvalError::overload()),
    }),
    function("or", &[on(&[T::Optional(&T::A), T::Optional(&T::A)], T::Optional(&T::A))], |_| Err(EvalError::overload())),
    function("orValue", &[on(&[T::Optional(&T::A), T::A], T::A)], |_| Err(EvalError::overload())),
];

fn one<'a>(args: &[Value<'a>], run: impl FnOnce(&Value<'a>) -> Done<'a>) -> Done<'a> {
    match args {
        [value] => run(value),
        _ => Err(EvalError::overload()),
    }
}

pub fn text<'a>(args: &[Value<'a>], run: impl FnOnce(&str, &str) -> Done<'a>) -> Done<'a> {
    match args {
        [Value::String(a), Value::String(b)] => run(a.as_str(), b.as_str()),
        _ => Err(EvalError::overload()),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(v) => !v,
        Value::Int(v) | Value::Duration(v) => *v == 0,
        Value::Uint(v) => *v == 0,
        Value::Double(v) => *v == 0.0,
        Value::String(v) => v.as_str().is_empty(),
        Value::Bytes(v) => v.is_empty(),
        Value::List(v) => v.is_empty(),
        Value::Map(v) => v.is_empty(),
        _ => false,
    }
}

fn conversion<'a, T>(found: Option<T>, make: impl FnOnce(T) -> Value<'a>, from: &Value, to: &str) -> Done<'a> {
    found.map(make).ok_or_else(|| EvalError::failed(format!("type conversion error from '{}' to '{to}'", from.type_name())))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Done<'a> {
    one(args, |value| match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => conversion(None::<bool>, Value::Bool, value, "bool"),
        },
        _ => Err(EvalError::overload()),
    })
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Done<'a> {
    one(args, |value| match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(text.as_str().as_bytes().into())),
        _ => Err(EvalError::overload()),
    })
}

fn to_double<'a>(args: &[Value<'a>]) -> Done<'a> {
    one(args, |value| match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(v) => Ok(Value::Double(*v as f64)),
        Value::Uint(v) => Ok(Value::Double(*v as f64)),
        Value::String(text) => conversion(text.as_str().parse().ok(), Value::Double, value, "double"),
        _ => Err(EvalError::overload()),
    })
}

fn to_duration<'a>(args: &[Value<'a>]) -> Done<'a> {
    one(args, |value| match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => conversion(time::duration(text.as_str()), Value::Duration, value, "google.protobuf.Duration"),
        _ => Err(EvalError::overload()),
    })
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Done<'a> {
    let name = "google.protobuf.Timestamp";
    one(args, |value| match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::String(text) => conversion(time::timestamp(text.as_str()), Value::Timestamp, value, name),
        Value::Int(seconds) => match Timestamp::from_second(*seconds) {
            Ok(timestamp) if time::in_range(timestamp) => Ok(Value::Timestamp(timestamp)),
            _ => Err(EvalError::Overflow("timestamp")),
        },
        _ => Err(EvalError::overload()),
    })
}

fn to_int<'a>(args: &[Value<'a>]) -> Done<'a> {
    let overflow = EvalError::Overflow("integer");
    one(args, |value| match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(v) => i64::try_from(*v).map(Value::Int).map_err(|_| overflow),
        Value::Double(v) if *v > i64::MIN as f64 && *v < i64::MAX as f64 => Ok(Value::Int(*v as i64)),
        Value::Double(_) => Err(overflow),
        Value::String(text) => conversion(text.as_str().parse().ok(), Value::Int, value, "int"),
        Value::Timestamp(v) => Ok(Value::Int(v.as_second() - i64::from(v.subsec_nanosecond() < 0))),
        Value::Duration(v) => Ok(Value::Int(*v)),
        _ => Err(EvalError::overload()),
    })
}

fn to_uint<'a>(args: &[Value<'a>]) -> Done<'a> {
    let overflow = EvalError::Overflow("unsigned integer");
    one(args, |value| match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(v) => u64::try_from(*v).map(Value::Uint).map_err(|_| overflow),
        Value::Double(v) if *v >= 0.0 && *v < u64::MAX as f64 => Ok(Value::Uint(*v as u64)),
        Value::Double(_) => Err(overflow),
        Value::String(text) => conversion(text.as_str().parse().ok(), Value::Uint, value, "uint"),
        _ => Err(EvalError::overload()),
    })
}

/// As the shortest text that reads back as the same number.
pub fn show_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    if value != 0.0 && !(1e-4..1e21).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (number, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{number}e{sign}{digits:0>2}");
    }
    value.to_string()
}

/// As `string()` has it.
pub fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.as_str().to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Uint(v) => v.to_string(),
        Value::Double(v) => show_double(*v),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_string(),
        Value::Timestamp(v) => time::show_timestamp(v),
        Value::Duration(v) => time::show_duration(*v),
        Value::Opaque(opaque) => opaque.text()?,
        _ => return None,
    })
}

fn to_string<'a>(args: &[Value<'a>]) -> Done<'a> {
    one(args, |value| match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bytes(_) => {
            text_of(value).map(Value::from).ok_or_else(|| EvalError::failed("invalid UTF-8 in bytes, cannot convert to string"))
        }
        _ => text_of(value).map(Value::from).ok_or_else(EvalError::overload),
    })
}

fn size<'a>(args: &[Value<'a>]) -> Done<'a> {
    one(args, |value| match value {
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => Ok(Value::Int(crate::cost::size(value) as i64)),
        _ => Err(EvalError::overload()),
    })
}

fn zone(name: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::failed(format!("unknown time zone {name}"));
    if let Some((hours, minutes)) = name.split_once(':') {
        let negative = hours.starts_with('-');
        let part = |text: &str| text.trim_start_matches(['+', '-']).parse::<i32>().ok().filter(|v| (0..=59).contains(v));
        let (hours, minutes) = (part(hours).ok_or_else(unknown)?, part(minutes).ok_or_else(unknown)?);
        let seconds = hours * 3600 + minutes * 60;
        return Offset::from_seconds(if negative { -seconds } else { seconds }).map(TimeZone::fixed).map_err(|_| unknown());
    }
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        _ => TimeZone::get(name).map_err(|_| unknown()),
    }
}

fn date<'a>(args: &[Value<'a>], read: impl FnOnce(jiff::civil::DateTime) -> i64) -> Done<'a> {
    let zone = match args {
        [Value::Timestamp(_)] => TimeZone::UTC,
        [Value::Timestamp(_), Value::String(name)] => zone(name.as_str())?,
        _ => return Err(EvalError::overload()),
    };
    match args.first() {
        Some(Value::Timestamp(timestamp)) => Ok(Value::Int(read(zone.to_datetime(*timestamp)))),
        _ => Err(EvalError::overload()),
    }
}

fn clock<'a>(args: &[Value<'a>], read: impl FnOnce(jiff::civil::DateTime) -> i64, unit: i64) -> Done<'a> {
    match args {
        // All milliseconds for a duration as well, as the specification's first implementation has it.
        [Value::Duration(nanos)] => Ok(Value::Int(nanos / unit)),
        _ => date(args, read),
    }
}

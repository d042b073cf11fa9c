//! Lists: sums and extremes, order, sets, parts and ranges.

use super::compare;
use super::seen::Seen;
use super::strings::distinct;
use crate::error::EvalError;
use crate::evaluate::work;
use crate::functions::{Function, Overload, T, function, of, on};
use crate::value::{List, Value};
use std::cmp::Ordering;

type Done<'a> = Result<Value<'a>, EvalError>;
const LIST: T = T::List(&T::A);
const BOTH: &[Overload] = &[of(&[LIST, LIST], T::Bool)];
/// How long a range may be.
const RANGE: i64 = 1_000_000;
const DEEPEST: i64 = 64;

const ORDERED: &[Overload] = &[
    on(&[T::List(&T::Int)], T::Bool),
    on(&[T::List(&T::Uint)], T::Bool),
    on(&[T::List(&T::Double)], T::Bool),
    on(&[T::List(&T::Bool)], T::Bool),
    on(&[T::List(&T::Duration)], T::Bool),
    on(&[T::List(&T::Timestamp)], T::Bool),
    on(&[T::List(&T::String)], T::Bool),
    on(&[T::List(&T::Bytes)], T::Bool),
];

const EXTREME: &[Overload] = &[
    on(&[T::List(&T::Int)], T::Int),
    on(&[T::List(&T::Uint)], T::Uint),
    on(&[T::List(&T::Double)], T::Double),
    on(&[T::List(&T::Bool)], T::Bool),
    on(&[T::List(&T::Duration)], T::Duration),
    on(&[T::List(&T::Timestamp)], T::Timestamp),
    on(&[T::List(&T::String)], T::String),
    on(&[T::List(&T::Bytes)], T::Bytes),
];

const SUM: &[Overload] = &[
    on(&[T::List(&T::Int)], T::Int),
    on(&[T::List(&T::Uint)], T::Uint),
    on(&[T::List(&T::Double)], T::Double),
    on(&[T::List(&T::Duration)], T::Duration),
];

const SORT: &[Overload] = &[
    on(&[T::List(&T::Int)], T::List(&T::Int)),
    on(&[T::List(&T::Uint)], T::List(&T::Uint)),
    on(&[T::List(&T::Double)], T::List(&T::Double)),
    on(&[T::List(&T::Bool)], T::List(&T::Bool)),
    on(&[T::List(&T::Duration)], T::List(&T::Duration)),
    on(&[T::List(&T::Timestamp)], T::List(&T::Timestamp)),
    on(&[T::List(&T::String)], T::List(&T::String)),
    on(&[T::List(&T::Bytes)], T::List(&T::Bytes)),
];

const SORT_BY: &[Overload] = &[
    on(&[LIST, T::List(&T::Int)], LIST),
    on(&[LIST, T::List(&T::Uint)], LIST),
    on(&[LIST, T::List(&T::Double)], LIST),
    on(&[LIST, T::List(&T::Bool)], LIST),
    on(&[LIST, T::List(&T::Duration)], LIST),
    on(&[LIST, T::List(&T::Timestamp)], LIST),
    on(&[LIST, T::List(&T::String)], LIST),
    on(&[LIST, T::List(&T::Bytes)], LIST),
];

pub const FUNCTIONS: &[Function] = &[
    function("isSorted", ORDERED, |args| {
        let mut before: Option<Value> = None;
        for item in list(args)?.iter() {
            if let Some(before) = &before
                && compare(before, &item)? == Some(Ordering::Greater)
            {
                return Ok(Value::Bool(false));
            }
            before = Some(item);
        }
        Ok(Value::Bool(true))
    }),
    function("sum", SUM, sum),
    function("min", EXTREME, |args| extreme(args, Ordering::Less, "min")),
    function("max", EXTREME, |args| extreme(args, Ordering::Greater, "max")),
    function("sets.contains", BOTH, |args| {
        let (a, b) = both(args)?;
        Ok(Value::Bool(holds(a, b)?))
    }),
    function("sets.equivalent", BOTH, |args| {
        let (a, b) = both(args)?;
        Ok(Value::Bool(holds(a, b)? && holds(b, a)?))
    }),
    function("sets.intersects", BOTH, |args| {
        let (a, b) = both(args)?;
        let seen = Seen::of(&a.iter().collect::<Vec<_>>())?;
        for item in b.iter() {
            if seen.contains(&item)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    function("slice", &[on(&[LIST, T::Int, T::Int], LIST)], slice),
    function("flatten", &[on(&[T::List(&LIST)], LIST), on(&[T::List(&T::Dyn), T::Int], T::List(&T::Dyn))], flatten),
    function("distinct", &[on(&[LIST], LIST)], |args| Ok(distinct(list(args)?.iter())?.into())),
    function("reverse", &[on(&[LIST], LIST)], |args| {
        let mut items: Vec<Value> = list(args)?.iter().collect();
        items.reverse();
        Ok(items.into())
    }),
    function("lists.range", &[of(&[T::Int], T::List(&T::Int))], |args| match args {
        [Value::Int(end)] if *end > RANGE => Err(EvalError::failed(format!("lists.range: {end} is more than {RANGE}"))),
        [Value::Int(end)] => Ok((0..*end).map(Value::Int).collect::<Vec<_>>().into()),
        _ => Err(EvalError::overload()),
    }),
    function("sort", SORT, |args| {
        let items: Vec<Value> = list(args)?.iter().collect();
        sorted(items.clone(), items)
    }),
    function("@sortByAssociatedKeys", SORT_BY, |args| match args {
        [Value::List(items), Value::List(keys)] => sorted(items.iter().collect(), keys.iter().collect()),
        _ => Err(EvalError::overload()),
    }),
];

fn list<'v, 'a>(args: &'v [Value<'a>]) -> Result<&'v List<'a>, EvalError> {
    match args.first() {
        Some(Value::List(list)) => Ok(list),
        _ => Err(EvalError::overload()),
    }
}

fn both<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match args {
        [Value::List(a), Value::List(b)] => Ok((a, b)),
        _ => Err(EvalError::overload()),
    }
}

/// Whether all of `b` are in `a`.
fn holds<'a>(a: &List<'a>, b: &List<'a>) -> Result<bool, EvalError> {
    let seen = Seen::of(&a.iter().collect::<Vec<_>>())?;
    for item in b.iter() {
        if !seen.contains(&item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sum<'a>(args: &[Value<'a>]) -> Done<'a> {
    let mut total: Option<Value> = None;
    for item in list(args)?.iter() {
        total = Some(match total {
            None => item,
            Some(total) => super::operators::add(&[total, item])?,
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn extreme<'a>(args: &[Value<'a>], wanted: Ordering, name: &str) -> Done<'a> {
    let mut best: Option<Value> = None;
    for item in list(args)?.iter() {
        let better = match &best {
            Some(best) => compare(&item, best)? == Some(wanted),
            None => true,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::failed(format!("{name} called on empty list")))
}

fn slice<'a>(args: &[Value<'a>]) -> Done<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else { return Err(EvalError::overload()) };
    let wrong = |why: String| Err(EvalError::failed(why));
    match (usize::try_from(*start), usize::try_from(*end)) {
        (Ok(from), Ok(to)) if from > to => {
            wrong(format!("cannot slice({start}, {end}), start index must be less than or equal to end index"))
        }
        (Ok(_), Ok(to)) if to > list.len() => wrong(format!("cannot slice({start}, {end}), list is length {}", list.len())),
        (Ok(from), Ok(to)) => Ok((from..to).filter_map(|at| list.get(at)).collect::<Vec<_>>().into()),
        _ => wrong(format!("cannot slice({start}, {end}), negative indexes not supported")),
    }
}

fn flatten<'a>(args: &[Value<'a>]) -> Done<'a> {
    let depth = match args {
        [_] => 1,
        [_, Value::Int(depth)] if *depth < 0 => return Err(EvalError::failed("level must be non-negative")),
        [_, Value::Int(depth)] => *depth,
        _ => return Err(EvalError::overload()),
    };
    let mut out = Vec::new();
    flat(list(args)?, depth.min(DEEPEST), &mut out)?;
    Ok(out.into())
}

fn flat<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) -> Result<(), EvalError> {
    for item in list.iter() {
        work::spend(1)?;
        match item {
            Value::List(inner) if depth > 0 => flat(&inner, depth - 1, out)?,
            other => out.push(other),
        }
    }
    Ok(())
}

fn sorted<'a>(items: Vec<Value<'a>>, keys: Vec<Value<'a>>) -> Done<'a> {
    if items.len() != keys.len() {
        return Err(EvalError::overload());
    }
    work::spend(items.len() as u64 * 16)?;
    let mut failed = None;
    let mut pairs: Vec<_> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|a, b| match compare(&a.0, &b.0) {
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(error) => {
            failed = Some(error);
            Ordering::Equal
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(pairs.into_iter().map(|(_, item)| item).collect::<Vec<_>>().into()),
    }
}

//! Text: places in it, parts of it, its case, and formatting.

use super::format_text::format;
use super::seen::Seen;
use super::standard::text;
use crate::error::EvalError;
use crate::evaluate::work;
use crate::functions::{Function, T, function, of, on};
use crate::regex;
use crate::value::Value;

type Done<'a> = Result<Value<'a>, EvalError>;
const TEXT: T = T::String;
const LIST: T = T::List(&T::A);

pub const FUNCTIONS: &[Function] = &[
    function("charAt", &[on(&[TEXT, T::Int], TEXT)], char_at),
    function("indexOf", &[on(&[TEXT, TEXT], T::Int), on(&[TEXT, TEXT, T::Int], T::Int), on(&[LIST, T::A], T::Int)], |args| {
        index_of(args, false)
    }),
    function("lastIndexOf", &[on(&[TEXT, TEXT], T::Int), on(&[TEXT, TEXT, T::Int], T::Int), on(&[LIST, T::A], T::Int)], |args| {
        index_of(args, true)
    }),
    function("join", &[on(&[T::List(&TEXT)], TEXT), on(&[T::List(&TEXT), TEXT], TEXT)], join),
    function("lowerAscii", &[on(&[TEXT], TEXT)], |args| mapped(args, |t| t.to_ascii_lowercase())),
    function("upperAscii", &[on(&[TEXT], TEXT)], |args| mapped(args, |t| t.to_ascii_uppercase())),
    function("trim", &[on(&[TEXT], TEXT)], |args| mapped(args, |t| t.trim().to_string())),
    function("replace", &[on(&[TEXT, TEXT, TEXT], TEXT), on(&[TEXT, TEXT, TEXT, T::Int], TEXT)], replace),
    function("split", &[on(&[TEXT, TEXT], T::List(&TEXT)), on(&[TEXT, TEXT, T::Int], T::List(&TEXT))], split),
    function("substring", &[on(&[TEXT, T::Int], TEXT), on(&[TEXT, T::Int, T::Int], TEXT)], substring),
    function("format", &[on(&[TEXT, T::List(&T::Dyn)], TEXT)], |args| match args {
        [Value::String(text), Value::List(list)] => format(text.as_str(), list),
        _ => Err(EvalError::overload()),
    }),
    function("strings.quote", &[of(&[TEXT], TEXT)], |args| mapped(args, quote)),
    function("find", &[on(&[TEXT, TEXT], TEXT)], |args| {
        text(args, |text, pattern| {
            let regex = regex::compile(pattern).map_err(EvalError::failed)?;
            Ok(regex.find(text).map_or("", |m| m.as_str()).to_string().into())
        })
    }),
    function("findAll", &[on(&[TEXT, TEXT], T::List(&TEXT)), on(&[TEXT, TEXT, T::Int], T::List(&TEXT))], find_all),
    function("jsonpatch.escapeKey", &[of(&[TEXT], TEXT)], |args| mapped(args, |t| t.replace('~', "~0").replace('/', "~1"))),
];

fn mapped<'a>(args: &[Value<'a>], change: impl FnOnce(&str) -> String) -> Done<'a> {
    match args {
        [Value::String(text)] => Ok(change(text.as_str()).into()),
        _ => Err(EvalError::overload()),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::failed(format!("index out of range: {index}"))
}

fn char_at<'a>(args: &[Value<'a>]) -> Done<'a> {
    let [Value::String(text), Value::Int(index)] = args else { return Err(EvalError::overload()) };
    let length = text.as_str().chars().count();
    match usize::try_from(*index) {
        Ok(at) if at == length => Ok(Value::from("")),
        Ok(at) if at < length => Ok(text.as_str().chars().nth(at).map(String::from).unwrap_or_default().into()),
        _ => Err(out_of_range(*index)),
    }
}

fn index_of<'a>(args: &[Value<'a>], last: bool) -> Done<'a> {
    match args {
        [Value::List(list), wanted] => {
            let mut found = -1;
            for (at, item) in list.iter().enumerate() {
                if super::equal(&item, wanted)? {
                    found = at as i64;
                    if !last {
                        break;
                    }
                }
            }
            Ok(Value::Int(found))
        }
        [Value::String(text), Value::String(part)] => Ok(Value::Int(place(text.as_str(), part.as_str(), None, last)?)),
        [Value::String(text), Value::String(part), Value::Int(from)] => {
            Ok(Value::Int(place(text.as_str(), part.as_str(), Some(*from), last)?))
        }
        _ => Err(EvalError::overload()),
    }
}

/// Counted in characters.
fn place(text: &str, part: &str, from: Option<i64>, last: bool) -> Result<i64, EvalError> {
    let length = text.chars().count();
    let from = match from {
        None => None,
        Some(from) => Some(usize::try_from(from).ok().filter(|at| *at <= length).ok_or_else(|| out_of_range(from))?),
    };
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let found = if last {
        // Where it begins is at most at `from`.
        let end = from.map_or(text.len(), |from| (byte(from) + part.len()).min(text.len()));
        let end = (end..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
        text[..end].rfind(part)
    } else {
        let start = byte(from.unwrap_or(0));
        text[start..].find(part).map(|at| start + at)
    };
    Ok(found.map_or(-1, |at| text[..at].chars().count() as i64))
}

fn join<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (list, separator) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, separator.as_str()),
        _ => return Err(EvalError::overload()),
    };
    let mut out = String::new();
    for (at, item) in list.iter().enumerate() {
        let part = item.as_str().ok_or_else(EvalError::overload)?;
        work::spend((part.len() + separator.len()) as u64)?;
        if at > 0 {
            out.push_str(separator);
        }
        out.push_str(part);
    }
    Ok(out.into())
}

fn replace<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, from, to, times) = match args {
        [Value::String(text), Value::String(from), Value::String(to)] => (text.as_str(), from.as_str(), to.as_str(), usize::MAX),
        [Value::String(text), Value::String(from), Value::String(to), Value::Int(times)] => {
            (text.as_str(), from.as_str(), to.as_str(), usize::try_from(*times).unwrap_or(usize::MAX))
        }
        _ => return Err(EvalError::overload()),
    };
    let count = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    work::spend((count.min(times) as u64).saturating_mul(to.len() as u64))?;
    Ok(text.replacen(from, to, times).into())
}

fn split<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, separator, limit) = match args {
        [Value::String(text), Value::String(separator)] => (text.as_str(), separator.as_str(), -1),
        [Value::String(text), Value::String(separator), Value::Int(limit)] => (text.as_str(), separator.as_str(), *limit),
        _ => return Err(EvalError::overload()),
    };
    if limit == 0 {
        return Ok(Vec::new().into());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<Value> = if separator.is_empty() {
        let characters: Vec<char> = text.chars().collect();
        let whole = characters.len().min(limit.saturating_sub(1));
        let mut parts: Vec<Value> = characters[..whole].iter().map(|c| c.to_string().into()).collect();
        if whole < characters.len() {
            parts.push(characters[whole..].iter().collect::<String>().into());
        }
        parts
    } else {
        text.splitn(limit, separator).map(|part| part.to_string().into()).collect()
    };
    Ok(parts.into())
}

fn substring<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text.as_str(), *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text.as_str(), *start, Some(*end)),
        _ => return Err(EvalError::overload()),
    };
    let length = text.chars().count();
    let at = |index: i64| usize::try_from(index).ok().filter(|at| *at <= length).ok_or_else(|| out_of_range(index));
    let from = at(start)?;
    let to = end.map_or(Ok(length), at)?;
    if from > to {
        return Err(EvalError::failed(format!("invalid substring range. start: {start}, end: {to}")));
    }
    Ok(text.chars().skip(from).take(to - from).collect::<String>().into())
}

pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn find_all<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (subject, pattern, limit) = match args {
        [Value::String(text), Value::String(pattern)] => (text.as_str(), pattern.as_str(), -1),
        [Value::String(text), Value::String(pattern), Value::Int(limit)] => (text.as_str(), pattern.as_str(), *limit),
        _ => return Err(EvalError::overload()),
    };
    let regex = regex::compile(pattern).map_err(EvalError::failed)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found: Vec<Value> = regex.find_iter(subject).take(limit).map(|m| m.as_str().to_string().into()).collect();
    Ok(found.into())
}

/// What of `items` is there once.
pub fn distinct<'a>(items: impl Iterator<Item = Value<'a>>) -> Result<Vec<Value<'a>>, EvalError> {
    let mut seen = Seen::default();
    let mut kept = Vec::new();
    for item in items {
        if seen.add(&item)? {
            kept.push(item);
        }
    }
    Ok(kept)
}

//! What evaluation costs: counted while it runs, and estimated beforehand.

mod calls;
mod estimate;
mod range;

pub(crate) use estimate::estimate;
pub use estimate::{Estimate, Sizes, Unbounded};
pub use range::Range;

use crate::node::{Node, NodeKind};
use crate::value::{Map, Value};

pub const LIST: u64 = 10;
pub const MAP: u64 = 30;
pub const STRUCT: u64 = 40;
/// What looking at a character costs.
pub const PER_CHARACTER: f64 = 0.1;
/// What a character of a pattern costs, for each character that it is tried on.
pub const PER_PATTERN_CHARACTER: f64 = 0.25;
/// A check of the authorizer: two of them fit in one expression's limit of admission.
pub const CHECK: u64 = 350_000;

/// Whether selecting from it goes on with one look-up, rather than beginning one.
pub fn is_attribute(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Variable(_) | NodeKind::Local(_) => true,
        NodeKind::Select(select) => !select.test,
        NodeKind::Call(function, _) => matches!(function.name, "_[_]" | "_[?_]"),
        _ => false,
    }
}

/// Whether it is known beforehand, so that evaluating it is free: literals, lists and maps of them, and conversions of them.
pub fn is_constant(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Const(_) => true,
        NodeKind::List(items) => items.iter().all(|(optional, item)| !optional && is_constant(item)),
        NodeKind::Map(entries) => entries.iter().all(|(optional, key, value)| !optional && is_constant(key) && is_constant(value)),
        NodeKind::Call(function, args) => {
            let converts = matches!(function.name, "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint");
            converts && args.iter().all(|arg| matches!(arg.kind, NodeKind::Const(_)))
        }
        _ => false,
    }
}

pub fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.as_str().chars().count() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.len() as u64,
        Value::Map(Map::Struct(..)) => 1,
        Value::Map(map) => map.len() as u64,
        Value::Optional(Some(inner)) => size(inner),
        Value::Opaque(opaque) => opaque.size(),
        _ => 1,
    }
}

fn part(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

fn characters(size: u64) -> u64 {
    part(size, PER_CHARACTER)
}

fn pattern(text: u64, pattern: u64) -> u64 {
    part(text + 1, PER_CHARACTER).saturating_mul(part(pattern, PER_PATTERN_CHARACTER))
}

fn traversal(value: &Value) -> u64 {
    match value {
        Value::String(text) => (text.as_str().len() as f64 * PER_CHARACTER) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * PER_CHARACTER) as u64,
        Value::List(list) => list.iter().map(|item| traversal(&item)).sum(),
        Value::Map(map) => map.entries().iter().map(|(key, value)| traversal(key) + traversal(value)).sum(),
        _ => 1,
    }
}

/// What a call costs, by its arguments.
pub fn of_call(name: &str, args: &[Value]) -> u64 {
    let arg = |at: usize| args.get(at).map_or(1, size);
    let text = |at: usize| matches!(args.get(at), Some(Value::String(_) | Value::Bytes(_)));
    match name {
        "_==_" | "_!=_" => match args.first() {
            Some(Value::Opaque(_)) => 1,
            _ => characters(arg(0).min(arg(1))),
        },
        "_<_" | "_<=_" | "_>_" | "_>=_" if text(0) => characters(arg(0).min(arg(1))),
        "_+_" if text(0) => characters(arg(0).saturating_add(arg(1))),
        "@in" if matches!(args.get(1), Some(Value::List(_))) => arg(1),
        "startsWith" | "endsWith" | "format" => characters(arg(0)),
        "bytes" | "string" if text(0) && args[0].type_name() != name => characters(arg(0)),
        "matches" | "find" | "findAll" => pattern(arg(0), arg(1)),
        "contains" if text(0) => characters(arg(0)).saturating_mul(characters(arg(1))),
        "check" => CHECK,
        "fieldSelector" | "labelSelector" => {
            let requirements = part(part(arg(1), 0.5), (LIST + STRUCT) as f64);
            LIST + characters(arg(1)) + requirements
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, traversal),
        "url" | "isURL" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => characters(arg(0)),
        "replace" | "split" | "ip.isCanonical" => part(arg(0), 2.0 * PER_CHARACTER),
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => characters(arg(0)),
        "ip" if text(0) => characters(arg(0)),
        "containsIP" => characters(arg(0) * 2) + if text(1) { characters(arg(1)) } else { 0 },
        "containsCIDR" => characters(arg(0) * 2) + characters(arg(0)) + 1 + if text(1) { characters(arg(1)) } else { 0 },
        "validate" => match args.first() {
            Some(Value::Opaque(opaque)) => pattern(arg(1), opaque.pattern_size()),
            _ => 1,
        },
        // The cost of the one is that of its result; the other does nothing.
        "join" | "dyn" => 0,
        "sets.contains" | "sets.intersects" => arg(0).saturating_mul(arg(1)).saturating_add(1),
        "sets.equivalent" => arg(0).saturating_mul(arg(1)).saturating_mul(2).saturating_add(1),
        "flatten" => {
            let depth = if let Some(Value::Int(depth)) = args.get(1) { u64::try_from(*depth).unwrap_or(0) } else { 1 };
            1 + LIST + depth.saturating_mul(arg(0))
        }
        "reverse" => 1 + LIST + arg(0),
        "distinct" | "sort" => compared(args.first()),
        "@sortByAssociatedKeys" => compared(args.get(1)),
        "lists.range" | "slice" => 1 + LIST,
        _ => 1,
    }
}

/// Every item with every item.
fn compared(list: Option<&Value>) -> u64 {
    let Some(Value::List(list)) = list else { return 1 };
    let text = matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_)));
    let count = list.len() as u64;
    1 + LIST + (count.saturating_mul(count) as f64 * if text { 2.0 + PER_CHARACTER } else { 2.0 }) as u64
}

/// What is added when the result is known.
pub fn of_result(name: &str, result: &Value) -> u64 {
    match name {
        "join" => part(size(result), 2.0 * PER_CHARACTER),
        "lists.range" | "slice" => size(result),
        _ => 0,
    }
}

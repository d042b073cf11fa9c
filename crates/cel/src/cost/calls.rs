//! What a call of a function may cost, by the sizes that its arguments may have.

use super::range::Range;
use super::{CHECK, LIST, PER_CHARACTER, PER_PATTERN_CHARACTER, STRUCT};
use crate::node::{Const, Node, NodeKind};
use crate::types::Type;

/// The largest pattern of a named format, and the largest name of one.
const FORMAT_PATTERN: f64 = 128.0;
const FORMAT_NAME: u64 = 64;

pub struct Argument<'a> {
    pub node: &'a Node,
    pub size: Range,
    /// The size of its items, where it is a list whose items are known.
    pub items: Option<Range>,
}

pub struct Call {
    pub cost: Range,
    /// The size of its result.
    pub size: Option<Range>,
}

/// Without what its arguments cost.
pub fn estimate(name: &str, args: &[Argument]) -> Call {
    let only = |cost: Range| Call { cost, size: None };
    let size = |at: usize| args.get(at).map_or(Range::UNKNOWN, |arg| arg.size);
    let is = |at: usize, ty: &Type| args.get(at).is_some_and(|arg| arg.node.ty == *ty);
    let text = |at: usize| is(at, &Type::String) || is(at, &Type::Bytes);
    let characters = |size: Range| size.scaled(PER_CHARACTER);
    let of_pattern = |size: Range| size.scaled(PER_PATTERN_CHARACTER);
    match name {
        "check" => only(Range::fixed(CHECK)),
        "fieldSelector" | "labelSelector" => {
            let requirements = size(1).scaled(0.5).scaled((LIST + STRUCT) as f64);
            only(Range::fixed(LIST).plus(characters(size(1))).plus(requirements))
        }
        "indexOf" | "lastIndexOf" if is(0, &Type::String) => only(characters(size(0))),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let text = matches!(args.first().map(|arg| &arg.node.ty), Some(Type::List(list)) if matches!(list.element, Type::String | Type::Bytes));
            let items = args.first().and_then(|arg| arg.items).unwrap_or(Range::UNKNOWN);
            let each = Range::fixed(1).plus(if text { characters(items) } else { Range::ZERO });
            only(size(0).times(each))
        }
        "url" | "jsonpatch.escapeKey" | "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            Call { cost: characters(size(0)), size: Some(size(0)) }
        }
        "replace" => Call { cost: size(0).scaled(2.0 * PER_CHARACTER), size: Some(replaced(size(0), size(1), size(2))) },
        "split" => {
            let most = match args.get(2).map(|arg| &arg.node.kind) {
                Some(NodeKind::Const(Const::Int(limit))) => *limit as u64,
                _ => size(0).max,
            };
            Call { cost: size(0).scaled(2.0 * PER_CHARACTER), size: Some(Range::new(0, most)) }
        }
        "join" => {
            let items = args.first().and_then(|arg| arg.items).unwrap_or(Range::UNKNOWN);
            let mut joined = size(0).times(items);
            if args.len() > 1 {
                let separators = Range::new(size(0).min.saturating_sub(1), size(0).max.saturating_sub(1));
                joined = joined.plus(size(1).times(separators));
            }
            Call { cost: characters(joined), size: Some(joined) }
        }
        "find" | "findAll" => {
            let cost = characters(size(0).plus(Range::fixed(1))).times(of_pattern(size(1)));
            Call { cost, size: Some(Range::new(0, size(0).max)) }
        }
        "matches" => only(characters(size(0).plus(Range::fixed(1))).times(of_pattern(size(1)))),
        "contains" if text(0) => only(characters(size(0)).times(characters(size(1)))),
        "startsWith" | "endsWith" => only(characters(size(1))),
        "format" => only(characters(size(0))),
        "bytes" if text(0) => Call { cost: characters(size(0)), size: Some(Range::new(size(0).min, size(0).max.saturating_mul(4))) },
        "string" if is(0, &Type::Bytes) => Call { cost: characters(size(0)), size: Some(Range::new(size(0).min / 4, size(0).max)) },
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => only(characters(size(0))),
        "ip" if is(0, &Type::String) => only(characters(size(0))),
        "ip.isCanonical" => only(size(0).scaled(2.0 * PER_CHARACTER)),
        "containsIP" | "containsCIDR" => {
            let address = Range::new(4, 16);
            let mut cost = characters(address.plus(address));
            if name == "containsCIDR" {
                cost = cost.plus(characters(address)).plus(Range::fixed(1));
            }
            if text(1) {
                cost = cost.plus(characters(size(1)));
            }
            only(cost)
        }
        "validate" => only(characters(size(1)).scaled(FORMAT_PATTERN * PER_PATTERN_CHARACTER)),
        "@in" if matches!(args.get(1).map(|arg| &arg.node.ty), Some(Type::List(_) | Type::Dyn)) => only(size(1)),
        "_+_" if text(0) => {
            let sum = size(0).plus(size(1));
            Call { cost: characters(sum), size: Some(sum) }
        }
        "_+_" if matches!(args.first().map(|arg| &arg.node.ty), Some(Type::List(_))) => {
            Call { cost: Range::fixed(1), size: Some(size(0).plus(size(1))) }
        }
        "_==_" | "_!=_" => only(equality(args, size(0), size(1))),
        "_<_" | "_<=_" | "_>_" | "_>=_" if text(0) => only(characters(smaller(size(0), size(1)))),
        "sets.contains" | "sets.intersects" => only(size(0).times(size(1)).plus(Range::fixed(1))),
        "sets.equivalent" => only(size(0).times(size(1)).times(Range::fixed(2)).plus(Range::fixed(1))),
        "flatten" => {
            let depth = match args.get(1).map(|arg| &arg.node.kind) {
                None => 1,
                Some(NodeKind::Const(Const::Int(depth))) => u64::try_from(*depth).unwrap_or(0),
                Some(_) => u64::MAX,
            };
            list_of(size(0), size(0).times(Range::fixed(depth)))
        }
        "reverse" => list_of(size(0), size(0)),
        "distinct" | "sort" => compared(args.first()),
        "@sortByAssociatedKeys" => compared(args.get(1)),
        "slice" => list_of(size(0), size(0)),
        "lists.range" => match args.first().map(|arg| &arg.node.kind) {
            Some(NodeKind::Const(Const::Int(end))) => {
                let count = Range::fixed(u64::try_from(*end).unwrap_or(0));
                list_of(count, count)
            }
            _ => list_of(Range::UNKNOWN, Range::UNKNOWN),
        },
        _ => only(Range::fixed(1)),
    }
}

fn list_of(size: Range, work: Range) -> Call {
    Call { cost: work.plus(Range::fixed(1 + LIST)), size: Some(size) }
}

fn compared(list: Option<&Argument>) -> Call {
    let size = list.map_or(Range::UNKNOWN, |list| list.size);
    let text = matches!(list.map(|list| &list.node.ty), Some(Type::List(list)) if matches!(list.element, Type::String | Type::Bytes));
    list_of(size, size.times(size).scaled(if text { 2.0 + PER_CHARACTER } else { 2.0 }))
}

fn smaller(a: Range, b: Range) -> Range {
    let max = a.max.min(b.max);
    Range::new(u64::from(max > 0), max)
}

fn equality(args: &[Argument], left: Range, right: Range) -> Range {
    match args.first().map(|arg| &arg.node.ty) {
        Some(Type::Opaque("kubernetes.NamedFormat")) => Range::new(1, FORMAT_NAME).scaled(PER_CHARACTER),
        Some(Type::Opaque(_)) => Range::fixed(1),
        _ => smaller(left, right).scaled(PER_CHARACTER),
    }
}

/// How large a text may be in which `from` was replaced by `to`.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let (mut count, mut kept) = (Range::ZERO, Range::ZERO);
    if from.min == 0 {
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if to.max <= from.min {
        kept.max = text.max;
    } else {
        count.max = (text.max as f64 / from.min as f64).ceil() as u64;
    }
    if from.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if from.max <= to.min {
        kept.min = text.min;
    } else {
        count.min = (text.min as f64 / from.max as f64).ceil() as u64;
    }
    count.times(to).plus(kept)
}

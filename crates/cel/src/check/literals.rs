//! Text in an expression that can be seen to be wrong before it is evaluated.

use crate::error::Issue;
use crate::node::{Const, Node, NodeKind};
use crate::types::Type;
use crate::{regex, time};

/// `mixed`: within what takes lists of values of several types.
pub fn check(node: &Node, mixed: bool) -> Result<(), Issue> {
    let one = |node: &Node| check(node, mixed);
    let all = |nodes: &[Node]| nodes.iter().try_for_each(one);
    match &node.kind {
        NodeKind::Const(_) | NodeKind::Variable(_) | NodeKind::Local(_) => Ok(()),
        NodeKind::Select(select) => one(&select.operand),
        NodeKind::Call(function, args) => {
            call(function.name, args)?;
            let mixed = mixed || function.name == "format";
            args.iter().try_for_each(|arg| check(arg, mixed))
        }
        NodeKind::And(pair) | NodeKind::Or(pair) | NodeKind::OrElse(pair, _) => all(&pair[..]),
        NodeKind::Conditional(three) => all(&three[..]),
        NodeKind::NotStrictlyFalse(inner) => one(inner),
        NodeKind::List(items) => {
            alike(items.iter().map(|(optional, item)| (*optional, item)), mixed)?;
            items.iter().try_for_each(|(_, item)| one(item))
        }
        NodeKind::Map(entries) => {
            alike(entries.iter().map(|(_, key, _)| (false, key)), mixed)?;
            alike(entries.iter().map(|(optional, _, value)| (*optional, value)), mixed)?;
            entries.iter().try_for_each(|(_, key, value)| one(key).and_then(|()| one(value)))
        }
        NodeKind::Struct(_, fields) => fields.iter().try_for_each(|(_, _, value)| one(value)),
        NodeKind::Fold(fold) => [&fold.range, &fold.init, &fold.cond, &fold.step, &fold.result].into_iter().try_for_each(one),
    }
}

/// What goes into one literal has one type.
fn alike<'n>(items: impl Iterator<Item = (bool, &'n Node)>, mixed: bool) -> Result<(), Issue> {
    let mut first: Option<&Type> = None;
    for (optional, item) in items.filter(|_| !mixed) {
        let ty = match &item.ty {
            Type::Optional(inner) if optional => inner,
            other => other,
        };
        match first {
            None => first = Some(ty),
            Some(wanted) if wanted == ty => {}
            Some(wanted) => return Err(Issue::new(item.at, format!("expected type '{wanted}' but found '{ty}'"))),
        }
    }
    Ok(())
}

fn call(name: &str, args: &[Node]) -> Result<(), Issue> {
    let text = |at: usize| match args.get(at).map(|arg| &arg.kind) {
        Some(NodeKind::Const(Const::String(text))) => Some((args[at].at, text.as_str())),
        _ => None,
    };
    let (right, at) = match name {
        "duration" => (text(0).is_none_or(|(_, text)| time::duration(text).is_some()), 0),
        "timestamp" => (text(0).is_none_or(|(_, text)| time::timestamp(text).is_some()), 0),
        "matches" => (text(1).is_none_or(|(_, pattern)| regex::compile(pattern).is_ok()), 1),
        _ => (true, 0),
    };
    if right { Ok(()) } else { Err(Issue::new(args[at].at, format!("invalid {name} argument"))) }
}

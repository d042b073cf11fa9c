//! Text in an expression that can be seen to be wrong before it is evaluated.

use crate::error::Issue;
use crate::node::{Const, Node, NodeKind};
use crate::{regex, time};

pub fn check(node: &Node) -> Result<(), Issue> {
    let all = |nodes: &[Node]| nodes.iter().try_for_each(check);
    match &node.kind {
        NodeKind::Const(_) | NodeKind::Variable(_) | NodeKind::Local(_) => Ok(()),
        NodeKind::Select(select) => check(&select.operand),
        NodeKind::Call(function, args) => {
            call(function.name, args)?;
            all(args)
        }
        NodeKind::And(pair) | NodeKind::Or(pair) | NodeKind::OrElse(pair, _) => all(&pair[..]),
        NodeKind::Conditional(three) => all(&three[..]),
        NodeKind::NotStrictlyFalse(inner) => check(inner),
        NodeKind::List(items) => items.iter().try_for_each(|(_, item)| check(item)),
        NodeKind::Map(entries) => entries.iter().try_for_each(|(_, key, value)| check(key).and_then(|()| check(value))),
        NodeKind::Struct(_, fields) => fields.iter().try_for_each(|(_, _, value)| check(value)),
        NodeKind::Fold(fold) => [&fold.range, &fold.init, &fold.cond, &fold.step, &fold.result].into_iter().try_for_each(check),
    }
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

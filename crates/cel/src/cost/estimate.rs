//! What an expression may cost, before it is evaluated. Follows the reference implementation step by step: which rules a
//! definition may have depends on these numbers.

use super::calls::{self, Argument};
use super::range::Range;
use super::{LIST, MAP, STRUCT};
use crate::node::{Const, FoldNode, Node, NodeKind};
use crate::types::Type;

pub type Estimate = Range;

/// Knows how large what is at a path may be: `["self", "spec", "items", "@items"]`. What the path begins with may not be
/// a variable, where it is not known where a value comes from.
pub trait Sizes: Sync {
    fn size(&self, path: &[&str]) -> Option<Range>;
}

/// Nothing is known of any size.
pub struct Unbounded;

impl Sizes for Unbounded {
    fn size(&self, _path: &[&str]) -> Option<Range> {
        None
    }
}

/// How large the entries of a list or a map are.
#[derive(Clone, Copy, Debug)]
pub struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

/// What is known of a node.
#[derive(Clone, Debug)]
struct Known<'n> {
    cost: Range,
    /// None where it is not computed from what the node is made of.
    size: Option<Range>,
    entries: Option<Entries>,
    path: Vec<&'n str>,
}

struct Local<'n> {
    path: Vec<&'n str>,
    size: Option<Range>,
    entries: Option<Entries>,
}

struct Estimator<'n> {
    sizes: &'n dyn Sizes,
    locals: Vec<Local<'n>>,
}

pub fn estimate(root: &Node, sizes: &dyn Sizes) -> Estimate {
    Estimator { sizes, locals: Vec::new() }.node(root).cost
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}

impl<'n> Estimator<'n> {
    /// With the size by path, or else by type, where the node itself says nothing of it.
    fn node(&mut self, node: &'n Node) -> Known<'n> {
        let mut known = self.bare(node);
        if known.size.is_none() {
            known.size = (!known.path.is_empty()).then(|| self.sizes.size(&known.path)).flatten();
        }
        if known.size.is_none() && is_scalar(&node.ty) {
            known.size = Some(Range::fixed(1));
        }
        if let (None, NodeKind::Local(slot)) = (known.size, &node.kind) {
            known.size = self.locals.get(*slot).and_then(|local| local.size);
        }
        known
    }

    fn bare(&mut self, node: &'n Node) -> Known<'n> {
        let plain = |cost| Known { cost, size: None, entries: None, path: Vec::new() };
        match &node.kind {
            // The name of a type is looked up as a variable is.
            NodeKind::Const(Const::Type(name)) => Known { path: vec![name], ..plain(Range::fixed(1)) },
            NodeKind::Const(value) => Known { size: size_of(value), ..plain(Range::ZERO) },
            NodeKind::Variable(name) => Known { path: vec![name], ..plain(Range::fixed(1)) },
            NodeKind::Local(slot) => match self.locals.get(*slot) {
                Some(local) => Known { path: local.path.clone(), entries: local.entries, ..plain(Range::fixed(1)) },
                None => plain(Range::fixed(1)),
            },
            NodeKind::Select(select) => {
                let operand = self.node(&select.operand);
                if select.test {
                    return plain(operand.cost);
                }
                let looked_up = matches!(select.operand.ty, Type::Map(_) | Type::Object(_));
                let mut path = operand.path;
                path.push(&select.field);
                Known { path, ..plain(operand.cost.plus(Range::fixed(u64::from(looked_up)))) }
            }
            NodeKind::Call(function, args) => self.call(function.name, args, node),
            NodeKind::And(pair) | NodeKind::Or(pair) => {
                let (left, right) = (self.node(&pair[0]).cost, self.node(&pair[1]).cost);
                plain(Range::new(left.min, left.plus(right).max))
            }
            NodeKind::NotStrictlyFalse(inner) => plain(self.node(inner).cost.plus(Range::fixed(1))),
            NodeKind::Conditional(three) => {
                let [cond, yes, no] = [&three[0], &three[1], &three[2]].map(|part| self.node(part));
                let size = unknown(yes.size).or(unknown(no.size));
                Known { size: Some(size), entries: union(yes.entries, no.entries), ..plain(cond.cost.plus(yes.cost.or(no.cost))) }
            }
            NodeKind::OrElse(pair, _) => plain(self.node(&pair[0]).cost.plus(self.node(&pair[1]).cost).plus(Range::fixed(1))),
            NodeKind::List(items) => {
                let mut cost = Range::fixed(LIST);
                let mut value = Range::new(if items.is_empty() { 0 } else { u64::MAX }, 0);
                for (_, item) in items {
                    let item = self.node(item);
                    cost = cost.plus(item.cost);
                    value = value.or(unknown(item.size));
                }
                let entries = Some(Entries { list: true, key: Range::fixed(1), value });
                Known { size: Some(Range::fixed(items.len() as u64)), entries, ..plain(cost) }
            }
            NodeKind::Map(all) => {
                let mut cost = Range::fixed(MAP);
                let nothing = Range::new(if all.is_empty() { 0 } else { u64::MAX }, 0);
                let (mut keys, mut values) = (nothing, nothing);
                for (_, key, value) in all {
                    let (key, value) = (self.node(key), self.node(value));
                    cost = cost.plus(key.cost).plus(value.cost);
                    keys = keys.or(unknown(key.size));
                    values = values.or(unknown(value.size));
                }
                let entries = Some(Entries { list: false, key: keys, value: values });
                Known { size: Some(Range::fixed(all.len() as u64)), entries, ..plain(cost) }
            }
            NodeKind::Struct(_, fields) => {
                plain(fields.iter().fold(Range::fixed(STRUCT), |cost, (_, _, value)| cost.plus(self.node(value).cost)))
            }
            NodeKind::Fold(fold) => self.fold(fold),
        }
    }

    fn call(&mut self, name: &str, args: &'n [Node], node: &'n Node) -> Known<'n> {
        let known: Vec<Known<'n>> = args.iter().map(|arg| self.node(arg)).collect();
        let all = known.iter().fold(Range::ZERO, |sum, arg| sum.plus(arg.cost));
        if let ("dyn", [one]) = (name, known.as_slice()) {
            return Known { cost: one.cost.plus(Range::fixed(1)), path: Vec::new(), ..one.clone() };
        }
        let items = |at: usize| {
            let mut path = known.get(at)?.path.clone();
            path.push("@items");
            self.sizes.size(&path)
        };
        let arguments: Vec<Argument> = args
            .iter()
            .zip(&known)
            .enumerate()
            .map(|(at, (node, known))| Argument { node, size: unknown(known.size), items: items(at) })
            .collect();
        let call = calls::estimate(name, &arguments);
        let (mut size, mut path, mut entries) = (call.size, Vec::new(), None);
        if let ("_[_]", Some(container)) = (name, known.first()) {
            size = container.entries.map(|entries| entries.value);
            path = container.path.clone();
            path.push(if matches!(args[0].ty, Type::List(_)) { "@items" } else { "@values" });
        }
        if let ("_+_", [left, right]) = (name, known.as_slice()) {
            entries = union(left.entries, right.entries);
        }
        if size.is_none() && is_scalar(&node.ty) {
            size = Some(Range::fixed(1)).filter(|_| path.is_empty());
        }
        Known { cost: all.plus(call.cost), size, entries, path }
    }

    fn fold(&mut self, fold: &'n FoldNode) -> Known<'n> {
        let range = self.node(&fold.range);
        let init = self.node(&fold.init);
        let empty = matches!(&fold.range.kind, NodeKind::List(items) if items.is_empty());
        let bind = empty && matches!(&fold.cond.kind, NodeKind::Const(Const::Bool(false)));
        let start = range.cost.plus(init.cost);
        self.locals.truncate(fold.slot);
        self.locals.push(Local { path: init.path, size: init.size, entries: init.entries });
        if bind {
            let result = self.node(&fold.result);
            self.locals.truncate(fold.slot);
            return Known { cost: start.plus(result.cost), path: Vec::new(), ..result };
        }
        let list = range.entries.map_or(matches!(fold.range.ty, Type::List(_)), |entries| entries.list);
        let local = |name: &'static str, size: Option<Range>| {
            let mut path = range.path.clone();
            path.push(name);
            Local { path, size, entries: None }
        };
        let (key, value) = (range.entries.map(|e| e.key), range.entries.map(|e| e.value));
        if fold.two {
            self.locals.push(local(if list { "@indices" } else { "@keys" }, key));
            self.locals.push(local(if list { "@items" } else { "@values" }, value));
        } else if list {
            self.locals.push(local("@items", value));
        } else {
            self.locals.push(local("@keys", key));
        }
        let cond = self.node(&fold.cond);
        let step = self.node(&fold.step);
        self.locals.truncate(fold.slot + 1);
        let result = self.node(&fold.result);
        self.locals.truncate(fold.slot);
        let count = unknown(range.size);
        let cost = start.plus(result.cost).plus(count.times(step.cost.plus(cond.cost)));
        let collected = matches!(fold.init.kind, NodeKind::List(_) | NodeKind::Map(_));
        let size = if collected { Some(count) } else { init.size };
        Known { cost, size, entries: step.entries.filter(|_| collected), path: Vec::new() }
    }
}

fn unknown(size: Option<Range>) -> Range {
    size.unwrap_or(Range::UNKNOWN)
}

fn union(a: Option<Entries>, b: Option<Entries>) -> Option<Entries> {
    let (a, b) = (a?, b?);
    Some(Entries { list: a.list, key: a.key.or(b.key), value: a.value.or(b.value) })
}

fn size_of(value: &Const) -> Option<Range> {
    Some(Range::fixed(match value {
        Const::String(text) => text.chars().count() as u64,
        Const::Bytes(bytes) => bytes.len() as u64,
        Const::Type(_) => return None,
        _ => 1,
    }))
}

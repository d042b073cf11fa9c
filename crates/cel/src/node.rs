//! An expression after it was checked: names are resolved, and every node has its type.

use crate::functions::Function;
use crate::types::Type;
use std::sync::Arc;

#[derive(Debug)]
pub struct Node {
    pub at: u32,
    pub ty: Type,
    /// Whether its own evaluation costs nothing, as it is known beforehand.
    pub free: bool,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub enum Const {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Arc<[u8]>),
    Type(Arc<str>),
}

#[derive(Debug)]
pub enum NodeKind {
    Const(Const),
    /// By name, from what the caller gives.
    Variable(String),
    /// By its place among the variables of the loops around it.
    Local(usize),
    Select(Box<Select>),
    Call(&'static Function, Vec<Node>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    NotStrictlyFalse(Box<Node>),
    Conditional(Box<[Node; 3]>),
    /// `optional.or(other)` and `optional.orValue(other)`, which evaluate the other only where it is needed.
    OrElse(Box<[Node; 2]>, bool),
    List(Vec<(bool, Node)>),
    Map(Vec<(bool, Node, Node)>),
    Struct(Arc<str>, Vec<(bool, String, Node)>),
    Fold(Box<FoldNode>),
}

#[derive(Debug)]
pub struct Select {
    pub operand: Node,
    pub field: String,
    pub test: bool,
    pub optional: bool,
}

/// The accumulator has the place `at`, and what is bound by the loop the places after it.
#[derive(Debug)]
pub struct FoldNode {
    pub range: Node,
    pub init: Node,
    pub cond: Node,
    pub step: Node,
    pub result: Node,
    pub slot: usize,
    pub two: bool,
}

impl Node {
    pub fn uses(&self, name: &str) -> bool {
        let any = |nodes: &[Node]| nodes.iter().any(|node| node.uses(name));
        match &self.kind {
            NodeKind::Const(_) | NodeKind::Local(_) => false,
            NodeKind::Variable(variable) => variable == name,
            NodeKind::Select(select) => select.operand.uses(name),
            NodeKind::Call(_, args) => any(args),
            NodeKind::And(pair) | NodeKind::Or(pair) | NodeKind::OrElse(pair, _) => any(&pair[..]),
            NodeKind::Conditional(three) => any(&three[..]),
            NodeKind::NotStrictlyFalse(inner) => inner.uses(name),
            NodeKind::List(items) => items.iter().any(|(_, item)| item.uses(name)),
            NodeKind::Map(entries) => entries.iter().any(|(_, key, value)| key.uses(name) || value.uses(name)),
            NodeKind::Struct(_, fields) => fields.iter().any(|(_, _, value)| value.uses(name)),
            NodeKind::Fold(fold) => [&fold.range, &fold.init, &fold.cond, &fold.step, &fold.result].iter().any(|part| part.uses(name)),
        }
    }
}

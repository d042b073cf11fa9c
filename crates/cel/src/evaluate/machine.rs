//! One evaluation.

use super::{Budget, Variables};
use crate::cost;
use crate::error::EvalError;
use crate::functions::Function;
use crate::node::{Const, FoldNode, Node, NodeKind, Select};
use crate::types::Type;
use crate::value::{Items, List, Map, OwnedMap, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub struct Machine<'m, 'a> {
    types: &'a BTreeMap<String, Type>,
    variables: &'m Variables<'a>,
    budget: &'m mut Budget,
    locals: Vec<Value<'a>>,
    cost: u64,
    limit: u64,
}

impl<'m, 'a> Machine<'m, 'a> {
    pub fn new(types: &'a BTreeMap<String, Type>, variables: &'m Variables<'a>, budget: &'m mut Budget) -> Self {
        let limit = budget.per_expression;
        Self { types, variables, budget, locals: Vec::new(), cost: 0, limit }
    }

    pub fn cost(&self) -> u64 {
        self.cost
    }

    fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    pub fn eval(&mut self, node: &'a Node) -> Evaluated<'a> {
        match &node.kind {
            NodeKind::Const(value) => Ok(constant(value)),
            NodeKind::Variable(name) => {
                self.spend(1)?;
                self.variables.get(name, self.types)
            }
            NodeKind::Local(slot) => {
                self.spend(1)?;
                self.locals.get(*slot).cloned().ok_or_else(EvalError::overload)
            }
            NodeKind::Select(select) => self.select(select),
            NodeKind::Call(function, args) => self.call(function, args, node.free),
            NodeKind::And(pair) => self.logical(&pair[0], &pair[1], false),
            NodeKind::Or(pair) => self.logical(&pair[0], &pair[1], true),
            NodeKind::NotStrictlyFalse(inner) => match self.eval(inner) {
                Err(error) if error.is_limit() => Err(error),
                value => {
                    self.spend(1)?;
                    Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
                }
            },
            NodeKind::Conditional(three) => match self.eval(&three[0])? {
                Value::Bool(true) => self.part(&three[1]),
                Value::Bool(false) => self.part(&three[2]),
                _ => Err(EvalError::overload()),
            },
            NodeKind::OrElse(pair, value) => self.or_else(&pair[0], &pair[1], *value),
            NodeKind::List(items) => self.list(items, node.free),
            NodeKind::Map(entries) => self.map(entries, node.free),
            NodeKind::Struct(name, fields) => self.structure(name, fields),
            NodeKind::Fold(fold) => self.fold(fold),
        }
    }

    /// A branch of a condition, or an index: a variable there costs nothing of its own, only what is selected from it.
    fn part(&mut self, node: &'a Node) -> Evaluated<'a> {
        let value = self.eval(node);
        if cost::is_attribute(node) {
            self.cost = self.cost.saturating_sub(1);
        }
        value
    }

    /// `||` where `decides` is true, else `&&`: one side that decides makes the other's error not matter.
    fn logical(&mut self, left: &'a Node, right: &'a Node, decides: bool) -> Evaluated<'a> {
        let first = self.eval(left);
        match &first {
            Ok(Value::Bool(value)) if *value == decides => return first,
            Err(error) if error.is_limit() => return first,
            _ => {}
        }
        let second = self.eval(right);
        match (first, second) {
            (_, Ok(Value::Bool(value))) if value == decides => Ok(Value::Bool(value)),
            (_, Err(error)) if error.is_limit() => Err(error),
            (Err(error), _) | (Ok(Value::Bool(_)), Err(error)) => Err(error),
            (Ok(Value::Bool(_)), Ok(Value::Bool(value))) => Ok(Value::Bool(value)),
            _ => Err(EvalError::overload()),
        }
    }

    fn or_else(&mut self, left: &'a Node, right: &'a Node, value: bool) -> Evaluated<'a> {
        let left = self.eval(left)?;
        self.spend(1)?;
        match left {
            Value::Optional(Some(inner)) if value => Ok((*inner).clone()),
            Value::Optional(Some(_)) => Ok(left),
            Value::Optional(None) => self.eval(right),
            _ => Err(EvalError::overload()),
        }
    }

    fn select(&mut self, select: &'a Select) -> Evaluated<'a> {
        let operand = self.eval(&select.operand)?;
        if !select.test {
            let attribute = cost::is_attribute(&select.operand);
            self.spend(if attribute { 1 } else { 2 })?;
        }
        let (operand, chained) = match operand {
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            Value::Optional(None) if select.test => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::none()),
            other => (other, false),
        };
        let found = match &operand {
            Value::Map(map) => map.field(&select.field),
            Value::Lazy(lazy) => lazy.clone().get(&select.field, self.budget).transpose()?,
            other => {
                return Err(if select.test || select.optional || chained {
                    EvalError::failed(format!("no such key: {}", select.field))
                } else {
                    EvalError::NoSuchOverload(format!(": {} has no fields", other.type_name()))
                });
            }
        };
        match found {
            _ if select.test => Ok(Value::Bool(found.is_some())),
            Some(value @ Value::Optional(_)) if select.optional || chained => Ok(value),
            Some(value) if select.optional || chained => Ok(Value::some(value)),
            None if select.optional || chained => Ok(Value::none()),
            Some(value) => Ok(value),
            None => Err(EvalError::NoSuchKey(select.field.clone())),
        }
    }

    fn call(&mut self, function: &'static Function, args: &'a [Node], free: bool) -> Evaluated<'a> {
        if function.name == "_+_"
            && let [Node { kind: NodeKind::Local(slot), .. }, Node { kind: NodeKind::List(items), .. }] = args
            && let [(false, item)] = items.as_slice()
        {
            return self.push(*slot, item);
        }
        if function.name == "cel.@mapInsert"
            && let [Node { kind: NodeKind::Local(slot), .. }, rest @ ..] = args
        {
            return self.insert(*slot, rest);
        }
        let at = matches!(function.name, "_[_]" | "_[?_]");
        let mut values = Vec::with_capacity(args.len());
        let mut failed = None;
        for (i, arg) in args.iter().enumerate() {
            match if at && i == 1 { self.part(arg) } else { self.eval(arg) } {
                Ok(value) => values.push(value),
                Err(error) if error.is_limit() || args.len() > 2 => return Err(error),
                // One or two are evaluated whatever the first comes to, and the call counts.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            self.spend(1)?;
            return Err(error);
        }
        if at {
            self.spend(if cost::is_attribute(&args[0]) { 1 } else { 2 })?;
            return (function.run)(&values);
        }
        if !free {
            self.spend(cost::of_call(function.name, &values))?;
        }
        let value = (function.run)(&values)?;
        self.spend(cost::of_result(function.name, &value))?;
        Ok(value)
    }

    /// `accumulator + [item]`, in place: each step of a `map` would copy the list otherwise.
    fn push(&mut self, slot: usize, item: &'a Node) -> Evaluated<'a> {
        let item = self.eval(item)?;
        self.spend(1 + cost::LIST + 1)?;
        let Some(place) = self.locals.get_mut(slot) else { return Err(EvalError::overload()) };
        match std::mem::replace(place, Value::Null) {
            Value::List(List { items: Items::Owned(mut items), kind: None }) => {
                Arc::make_mut(&mut items).push(item);
                Ok(Value::List(List { items: Items::Owned(items), kind: None }))
            }
            Value::List(list) => {
                *place = Value::List(list.clone());
                let mut items: Vec<Value> = list.iter().collect();
                items.push(item);
                Ok(Value::List(List { items: Items::Owned(Arc::new(items)), kind: list.kind }))
            }
            other => {
                *place = other;
                Err(EvalError::overload())
            }
        }
    }

    fn insert(&mut self, slot: usize, rest: &'a [Node]) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(2);
        for node in rest {
            values.push(self.eval(node)?);
        }
        self.spend(2)?;
        let entries = match <[Value; 2]>::try_from(values) {
            Ok([key, value]) => vec![(key, value)],
            Err(mut values) => match values.pop() {
                Some(Value::Map(map)) => map.entries(),
                _ => return Err(EvalError::overload()),
            },
        };
        let Some(Value::Map(Map::Owned(map))) = self.locals.get_mut(slot).map(|place| std::mem::replace(place, Value::Null)) else {
            return Err(EvalError::overload());
        };
        let mut map = Arc::unwrap_or_clone(map);
        for (key, value) in entries {
            add(&mut map, key, value)?;
        }
        Ok(map.into())
    }

    fn list(&mut self, items: &'a [(bool, Node)], free: bool) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(items.len());
        for (optional, item) in items {
            match self.eval(item)? {
                Value::Optional(inner) if *optional => values.extend(inner.map(|v| (*v).clone())),
                _ if *optional => return Err(EvalError::overload()),
                value => values.push(value),
            }
        }
        self.spend(if free { 0 } else { cost::LIST })?;
        Ok(values.into())
    }

    fn map(&mut self, entries: &'a [(bool, Node, Node)], free: bool) -> Evaluated<'a> {
        let mut map = OwnedMap::default();
        for (optional, key, value) in entries {
            let (key, value) = (self.eval(key)?, self.eval(value)?);
            match value {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(inner)) if *optional => add(&mut map, key, (*inner).clone())?,
                _ if *optional => return Err(EvalError::overload()),
                value => add(&mut map, key, value)?,
            }
        }
        self.spend(if free { 0 } else { cost::MAP })?;
        Ok(map.into())
    }

    fn structure(&mut self, name: &Arc<str>, fields: &'a [(bool, String, Node)]) -> Evaluated<'a> {
        let mut map = OwnedMap::default();
        for (optional, field, value) in fields {
            match self.eval(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(inner)) if *optional => add(&mut map, Value::from(field.as_str()), (*inner).clone())?,
                value => add(&mut map, Value::from(field.as_str()), value)?,
            }
        }
        self.spend(cost::STRUCT)?;
        Ok(Value::Map(Map::Struct(name.clone(), Arc::new(map))))
    }

    fn fold(&mut self, fold: &'a FoldNode) -> Evaluated<'a> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init)?;
        self.locals.truncate(fold.slot);
        self.locals.push(init);
        let done = match &range {
            Value::List(list) => self.over(fold, list.iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item)), false),
            Value::Map(map) => self.over(fold, map.entries().into_iter(), true),
            other => Err(EvalError::failed(format!("got '{}', expected iterable type", other.type_name()))),
        };
        let value = done.and_then(|()| {
            self.locals.truncate(fold.slot + 1);
            self.eval(&fold.result)
        });
        self.locals.truncate(fold.slot);
        value
    }

    fn over(&mut self, fold: &'a FoldNode, items: impl Iterator<Item = (Value<'a>, Value<'a>)>, map: bool) -> Result<(), EvalError> {
        // An accumulator may hold an error, which a later step may still make not matter.
        let mut failed: Option<EvalError> = None;
        for (key, item) in items {
            self.locals.truncate(fold.slot + 1);
            match (fold.two, map) {
                (true, _) => self.locals.extend([key, item]),
                (false, true) => self.locals.push(key),
                (false, false) => self.locals.push(item),
            }
            match self.eval(&fold.cond)? {
                Value::Bool(true) => {}
                Value::Bool(false) => break,
                _ => return Err(EvalError::overload()),
            }
            match self.eval(&fold.step) {
                Ok(value) => {
                    let decided = match &fold.step.kind {
                        NodeKind::And(_) => matches!(value, Value::Bool(false)),
                        NodeKind::Or(_) => matches!(value, Value::Bool(true)),
                        _ => false,
                    };
                    if decided {
                        failed = None;
                    }
                    self.locals[fold.slot] = value;
                }
                Err(error) if error.is_limit() => return Err(error),
                Err(error) if matches!(fold.step.kind, NodeKind::And(_) | NodeKind::Or(_)) => failed = Some(failed.unwrap_or(error)),
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn add<'a>(map: &mut OwnedMap<'a>, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
    let shown = key.as_str().map_or_else(|| format!("{key:?}"), str::to_string);
    match map.insert(key, value) {
        Some(true) => Ok(()),
        Some(false) => Err(EvalError::failed(format!("insert failed: key {shown} already exists"))),
        None => Err(EvalError::failed("unsupported key type")),
    }
}

fn constant(value: &Const) -> Value<'_> {
    match value {
        Const::Null => Value::Null,
        Const::Bool(v) => Value::Bool(*v),
        Const::Int(v) => Value::Int(*v),
        Const::Uint(v) => Value::Uint(*v),
        Const::Double(v) => Value::Double(*v),
        Const::String(v) => Value::from(v.as_str()),
        Const::Bytes(v) => Value::Bytes(v.clone()),
        Const::Type(name) => Value::Type(name.clone()),
    }
}

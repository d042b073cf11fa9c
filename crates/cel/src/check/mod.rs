//! Checks an expression against what is declared, and resolves its names.

mod infer;
mod literals;

use crate::ast::{Expr, ExprKind, Fold, Literal};
use crate::cost;
use crate::env::Environment;
use crate::error::Issue;
use crate::functions::{self, Function};
use crate::library;
use crate::node::{Const, FoldNode, Node, NodeKind, Select};
use crate::types::Type;
use infer::Inference;

/// The node, or all that is wrong with the expression.
pub fn check(env: &Environment, expr: &Expr) -> Result<Node, Vec<Issue>> {
    let mut checker = Checker { env, infer: Inference::default(), locals: Vec::new(), issues: Vec::new() };
    let mut node = checker.node(expr);
    if !checker.issues.is_empty() {
        checker.issues.sort_by_key(|issue| issue.at);
        return Err(checker.issues);
    }
    settle(&checker.infer, &mut node);
    free(&mut node);
    literals::check(&node, false).map_err(|issue| vec![issue])?;
    Ok(node)
}

struct Checker<'e> {
    env: &'e Environment,
    infer: Inference,
    locals: Vec<(String, Type)>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn wrong(&mut self, at: u32, message: String) -> Type {
        self.issues.push(Issue::new(at, message));
        Type::Dyn
    }

    fn show(&self, ty: &Type) -> String {
        self.infer.settled(ty).to_string()
    }

    fn expect(&mut self, node: &Node, wanted: &Type) {
        if !self.infer.fits(&node.ty, wanted) {
            let message = format!("expected type '{}' but found '{}'", self.show(wanted), self.show(&node.ty));
            self.wrong(node.at, message);
        }
    }

    fn node(&mut self, expr: &Expr) -> Node {
        let at = expr.at;
        match &expr.kind {
            ExprKind::Literal(literal) => constant(at, literal),
            ExprKind::Ident(name) => self.ident(at, name),
            ExprKind::Select { operand, field, test, optional } => self.select(expr, operand, field, *test, *optional),
            ExprKind::Call { function, target, args } => self.call(at, function, target.as_deref(), args),
            ExprKind::List(items) => self.list(at, items),
            ExprKind::Map(entries) => self.map(at, entries),
            ExprKind::Struct { name, fields } => self.structure(at, name, fields),
            ExprKind::Fold(fold) => self.fold(at, fold),
        }
    }

    fn resolve(&self, name: &str) -> Option<(Type, NodeKind)> {
        let plain = name.strip_prefix('.').unwrap_or(name);
        if plain == name
            && let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name)
        {
            return Some((self.locals[slot].1.clone(), NodeKind::Local(slot)));
        }
        if let Some(ty) = self.env.variable(plain) {
            return Some((ty.clone(), NodeKind::Variable(plain.into())));
        }
        let ty = library::type_named(plain).or_else(|| self.env.object_type(plain).cloned().map(Type::Object))?;
        Some((Type::of_type(ty), NodeKind::Const(Const::Type(plain.into()))))
    }

    fn ident(&mut self, at: u32, name: &str) -> Node {
        match self.resolve(name) {
            Some((ty, kind)) => Node { at, ty, free: false, kind },
            None => {
                let ty = self.wrong(at, format!("undeclared reference to '{name}' (in container '')"));
                Node { at, ty, free: false, kind: NodeKind::Const(Const::Null) }
            }
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool, optional: bool) -> Node {
        let at = expr.at;
        // A name with dots may be that of a type.
        if let Some(name) = expr.qualified()
            && !self.locals.iter().any(|(local, _)| name.split('.').next() == Some(local))
            && let Some((ty, kind)) = self.resolve(&name)
        {
            return Node { at, ty, free: false, kind };
        }
        let operand = self.node(operand);
        let (inner, chained) = match self.infer.shallow(&operand.ty) {
            Type::Optional(inner) => (self.infer.shallow(&inner), true),
            other => (other, false),
        };
        let found = match &inner {
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.ty.clone(),
                None => self.wrong(at, format!("undefined field '{field}'")),
            },
            Type::Map(map) => map.1.clone(),
            Type::Dyn | Type::Param(_) => Type::Dyn,
            other => {
                let message = format!("type '{}' does not support field selection", self.show(other));
                self.wrong(at, message)
            }
        };
        let ty = match found {
            _ if test => Type::Bool,
            Type::Optional(_) if optional || chained => found,
            _ if optional || chained => Type::optional(found),
            _ => found,
        };
        Node { at, ty, free: false, kind: NodeKind::Select(Box::new(Select { operand, field: field.into(), test, optional })) }
    }

    fn call(&mut self, at: u32, name: &str, target: Option<&Expr>, args: &[Expr]) -> Node {
        // `sets.contains(a, b)` is the function of that whole name.
        if let Some(target) = target
            && let Some(qualified) = target.qualified()
            && let Some(function) = functions::find(&format!("{qualified}.{name}"))
        {
            let args = args.iter().map(|arg| self.node(arg)).collect();
            return self.apply(at, function, false, args);
        }
        let member = target.is_some();
        let nodes: Vec<Node> = target.into_iter().chain(args).map(|arg| self.node(arg)).collect();
        match functions::find(name.strip_prefix('.').unwrap_or(name)) {
            Some(function) => self.apply(at, function, member, nodes),
            None => {
                let ty = self.wrong(at, format!("undeclared reference to '{name}' (in container '')"));
                Node { at, ty, free: false, kind: NodeKind::Const(Const::Null) }
            }
        }
    }

    fn apply(&mut self, at: u32, function: &'static Function, member: bool, args: Vec<Node>) -> Node {
        let types: Vec<Type> = args.iter().map(|arg| arg.ty.clone()).collect();
        let mut result: Option<Type> = None;
        for overload in function.overloads.iter().filter(|o| o.member == member && o.params.len() == types.len()) {
            let base = self.infer.fresh(2);
            let params: Vec<Type> = overload.params.iter().map(|p| p.instantiate(base)).collect();
            if !self.infer.all_fit(&types, &params) {
                continue;
            }
            let found = overload.result.instantiate(base);
            result = Some(match result {
                None => found,
                Some(earlier) if self.infer.settled(&earlier) == self.infer.settled(&found) => earlier,
                Some(_) => Type::Dyn,
            });
        }
        let ty = result.unwrap_or_else(|| {
            let shown: Vec<String> = types.iter().map(|ty| self.show(ty)).collect();
            let applied = match shown.split_first() {
                Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.wrong(at, format!("found no matching overload for '{}' applied to '{applied}'", function.name))
        });
        Node { at, ty, free: false, kind: special(function, args) }
    }

    fn optional_of(&mut self, node: &Node) -> Type {
        let inner = Type::Param(self.infer.fresh(1));
        self.expect(node, &Type::optional(inner.clone()));
        inner
    }

    /// The type that all have that go into one literal: any, where they differ. Whether they may is looked at later.
    fn join(&mut self, joined: Option<Type>, ty: Type) -> Type {
        let Some(joined) = joined else { return ty };
        let fits = self.infer.fits(&ty, &joined);
        if fits && !matches!(self.infer.shallow(&ty), Type::Dyn) { joined } else { Type::Dyn }
    }

    fn list(&mut self, at: u32, items: &[(bool, Expr)]) -> Node {
        let mut element = None;
        let mut nodes = Vec::with_capacity(items.len());
        for (optional, item) in items {
            let node = self.node(item);
            let ty = if *optional { self.optional_of(&node) } else { node.ty.clone() };
            element = Some(self.join(element, ty));
            nodes.push((*optional, node));
        }
        let element = element.unwrap_or_else(|| Type::Param(self.infer.fresh(1)));
        Node { at, ty: Type::list(element), free: false, kind: NodeKind::List(nodes) }
    }

    fn map(&mut self, at: u32, entries: &[(bool, Expr, Expr)]) -> Node {
        let (mut key, mut value) = (None, None);
        let mut nodes = Vec::with_capacity(entries.len());
        for (optional, k, v) in entries {
            let (k, v) = (self.node(k), self.node(v));
            let key_type = match self.infer.shallow(&k.ty) {
                ty @ (Type::Bool | Type::Int | Type::Uint | Type::Double | Type::String) => ty,
                Type::Dyn | Type::Param(_) => Type::Dyn,
                // No such key is ever found. Refusing it also keeps types from growing without bound.
                other => {
                    let message = format!("unsupported map key type '{}'", self.show(&other));
                    self.wrong(k.at, message)
                }
            };
            key = Some(self.join(key, key_type));
            let ty = if *optional { self.optional_of(&v) } else { v.ty.clone() };
            value = Some(self.join(value, ty));
            nodes.push((*optional, k, v));
        }
        let key = key.unwrap_or_else(|| Type::Param(self.infer.fresh(1)));
        let value = value.unwrap_or_else(|| Type::Param(self.infer.fresh(1)));
        Node { at, ty: Type::map(key, value), free: false, kind: NodeKind::Map(nodes) }
    }

    fn structure(&mut self, at: u32, name: &str, fields: &[(bool, String, Expr)]) -> Node {
        let plain = name.strip_prefix('.').unwrap_or(name);
        if self.env.is_open(plain) {
            let fields = fields.iter().map(|(optional, field, value)| (*optional, field.clone(), self.node(value))).collect();
            let ty = Type::object(plain, []);
            return Node { at, ty, free: false, kind: NodeKind::Struct(plain.into(), fields) };
        }
        let Some(object) = self.env.object_type(plain).cloned() else {
            let ty = self.wrong(at, format!("undeclared reference to '{name}' (in container '')"));
            return Node { at, ty, free: false, kind: NodeKind::Const(Const::Null) };
        };
        let mut nodes = Vec::with_capacity(fields.len());
        for (optional, field, value) in fields {
            let node = self.node(value);
            match object.fields.get(field) {
                Some(declared) if *optional => self.expect(&node, &Type::optional(declared.ty.clone())),
                Some(declared) => self.expect(&node, &declared.ty),
                None => {
                    self.wrong(node.at, format!("undefined field '{field}'"));
                }
            }
            nodes.push((*optional, field.clone(), node));
        }
        Node { at, ty: Type::Object(object), free: false, kind: NodeKind::Struct(plain.into(), nodes) }
    }

    fn fold(&mut self, at: u32, fold: &Fold) -> Node {
        let range = self.node(&fold.range);
        let init = self.node(&fold.init);
        let two = fold.var2.is_some();
        let vars = match self.infer.shallow(&range.ty) {
            Type::List(list) if two => (Type::Int, list.element.clone()),
            Type::List(list) => (list.element.clone(), Type::Dyn),
            Type::Map(map) => (map.0.clone(), map.1.clone()),
            Type::Dyn | Type::Param(_) => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    self.show(&other)
                );
                self.wrong(range.at, message);
                (Type::Dyn, Type::Dyn)
            }
        };
        let slot = self.locals.len();
        self.locals.push((fold.accu.clone(), init.ty.clone()));
        self.locals.push((fold.var.clone(), vars.0));
        if let Some(var) = &fold.var2 {
            self.locals.push((var.clone(), vars.1));
        }
        let cond = self.node(&fold.cond);
        self.expect(&cond, &Type::Bool);
        let step = self.node(&fold.step);
        let accu = init.ty.clone();
        self.expect(&step, &accu);
        self.locals.truncate(slot + 1);
        let result = self.node(&fold.result);
        self.locals.truncate(slot);
        let ty = result.ty.clone();
        Node { at, ty, free: false, kind: NodeKind::Fold(Box::new(FoldNode { range, init, cond, step, result, slot, two })) }
    }
}

fn constant(at: u32, literal: &Literal) -> Node {
    let (ty, value) = match literal {
        Literal::Null => (Type::Null, Const::Null),
        Literal::Bool(v) => (Type::Bool, Const::Bool(*v)),
        Literal::Int(v) => (Type::Int, Const::Int(*v)),
        Literal::Uint(v) => (Type::Uint, Const::Uint(*v)),
        Literal::Double(v) => (Type::Double, Const::Double(*v)),
        Literal::String(v) => (Type::String, Const::String(v.clone())),
        Literal::Bytes(v) => (Type::Bytes, Const::Bytes(v.as_slice().into())),
    };
    Node { at, ty, free: false, kind: NodeKind::Const(value) }
}

/// Those that do not evaluate all their arguments.
fn special(function: &'static Function, mut args: Vec<Node>) -> NodeKind {
    args = match (function.name, <[Node; 2]>::try_from(args)) {
        ("_&&_", Ok(pair)) => return NodeKind::And(Box::new(pair)),
        ("_||_", Ok(pair)) => return NodeKind::Or(Box::new(pair)),
        ("or", Ok(pair)) => return NodeKind::OrElse(Box::new(pair), false),
        ("orValue", Ok(pair)) => return NodeKind::OrElse(Box::new(pair), true),
        (_, Ok(pair)) => pair.into(),
        (_, Err(args)) => args,
    };
    args = match (function.name, <[Node; 3]>::try_from(args)) {
        ("_?_:_", Ok(all)) => return NodeKind::Conditional(Box::new(all)),
        (_, Ok(all)) => all.into(),
        (_, Err(args)) => args,
    };
    match (function.name, <[Node; 1]>::try_from(args)) {
        ("@not_strictly_false", Ok([arg])) => NodeKind::NotStrictlyFalse(Box::new(arg)),
        (_, Ok(one)) => NodeKind::Call(function, one.into()),
        (_, Err(args)) => NodeKind::Call(function, args),
    }
}

/// Puts in what became known of types while checking.
fn settle(infer: &Inference, node: &mut Node) {
    node.ty = infer.settled(&node.ty);
    let all = |nodes: &mut [Node]| nodes.iter_mut().for_each(|node| settle(infer, node));
    match &mut node.kind {
        NodeKind::Const(_) | NodeKind::Variable(_) | NodeKind::Local(_) => {}
        NodeKind::Select(select) => settle(infer, &mut select.operand),
        NodeKind::Call(_, args) => all(args),
        NodeKind::And(pair) | NodeKind::Or(pair) | NodeKind::OrElse(pair, _) => all(&mut pair[..]),
        NodeKind::Conditional(three) => all(&mut three[..]),
        NodeKind::NotStrictlyFalse(inner) => settle(infer, inner),
        NodeKind::List(items) => items.iter_mut().for_each(|(_, item)| settle(infer, item)),
        NodeKind::Map(entries) => {
            for (_, key, value) in entries {
                settle(infer, key);
                settle(infer, value);
            }
        }
        NodeKind::Struct(_, fields) => fields.iter_mut().for_each(|(_, _, value)| settle(infer, value)),
        NodeKind::Fold(fold) => {
            for part in [&mut fold.range, &mut fold.init, &mut fold.cond, &mut fold.step, &mut fold.result] {
                settle(infer, part);
            }
        }
    }
}

/// Marks what evaluation does not have to be paid for.
fn free(node: &mut Node) {
    let all = |nodes: &mut [Node]| nodes.iter_mut().for_each(free);
    node.free = cost::is_constant(node);
    match &mut node.kind {
        NodeKind::Const(_) | NodeKind::Variable(_) | NodeKind::Local(_) => {}
        NodeKind::Select(select) => free(&mut select.operand),
        NodeKind::Call(function, args) => {
            // Membership in a list that is known is one look-up.
            let known =
                function.name == "@in" && args.get(1).is_some_and(|list| matches!(list.kind, NodeKind::List(_)) && cost::is_constant(list));
            node.free |= known;
            all(args);
        }
        NodeKind::And(pair) | NodeKind::Or(pair) | NodeKind::OrElse(pair, _) => all(&mut pair[..]),
        NodeKind::Conditional(three) => all(&mut three[..]),
        NodeKind::NotStrictlyFalse(inner) => free(inner),
        NodeKind::List(items) => items.iter_mut().for_each(|(_, item)| free(item)),
        NodeKind::Map(entries) => {
            for (_, key, value) in entries {
                free(key);
                free(value);
            }
        }
        NodeKind::Struct(_, fields) => fields.iter_mut().for_each(|(_, _, value)| free(value)),
        NodeKind::Fold(fold) => {
            for part in [&mut fold.range, &mut fold.init, &mut fold.cond, &mut fold.step, &mut fold.result] {
                free(part);
            }
        }
    }
}

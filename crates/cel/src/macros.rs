//! What looks like a function and is none: `has`, the loops, `optMap`. `cel.bind` is there where the environment
//! has it: of Kubernetes' expressions only those that select devices know it.

use crate::ast::{Expr, ExprKind, Fold};
use crate::error::Issue;

/// The name of the accumulator, which no expression can spell.
pub const ACCU: &str = "@result";

/// How many nodes a macro may repeat.
const REPEATED: usize = 2_000;

pub fn global(at: u32, name: &str, mut args: Vec<Expr>) -> Result<Expr, Issue> {
    if name == "has" && args.len() == 1 {
        let arg = args.remove(0);
        return match arg.kind {
            ExprKind::Select { operand, field, test: false, optional: false } => {
                Ok(Expr::new(at, ExprKind::Select { operand, field, test: true, optional: false }))
            }
            _ => Err(Issue::new(arg.at, "invalid argument to has() macro")),
        };
    }
    Ok(Expr::call(at, name, args))
}

pub fn member(at: u32, name: &str, target: Expr, args: Vec<Expr>, bindings: bool) -> Result<Expr, Issue> {
    let count = args.len();
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or_else(|| Expr::bool(at, false));
    match (name, count) {
        ("all" | "exists" | "exists_one" | "existsOne", 2) => {
            let var = variable(next())?;
            Ok(quantifier(at, name, target, var, None, next()))
        }
        ("all" | "exists" | "exists_one" | "existsOne", 3) => {
            let (var, var2) = variables(next(), next())?;
            Ok(quantifier(at, name, target, var, Some(var2), next()))
        }
        ("map", 2 | 3) => {
            let var = variable(next())?;
            let filter = (count == 3).then(&mut next);
            Ok(collect(at, target, var, None, filter, next()))
        }
        ("filter", 2) => {
            let var = variable(next())?;
            let item = Expr::ident(at, &var);
            Ok(collect(at, target, var, None, Some(next()), item))
        }
        ("transformList", 3 | 4) => {
            let (var, var2) = variables(next(), next())?;
            let filter = (count == 4).then(&mut next);
            Ok(collect(at, target, var, Some(var2), filter, next()))
        }
        ("transformMap" | "transformMapEntry", 3 | 4) => {
            let (var, var2) = variables(next(), next())?;
            let filter = (count == 4).then(&mut next);
            let transform = next();
            let insert = if name == "transformMap" { vec![accu(at), Expr::ident(at, &var), transform] } else { vec![accu(at), transform] };
            let step = filtered(at, filter, Expr::call(at, "cel.@mapInsert", insert));
            Ok(fold(at, target, var, Some(var2), Expr::new(at, ExprKind::Map(Vec::new())), Expr::bool(at, true), step, accu(at)))
        }
        ("sortBy", 2) => {
            let var = variable(next())?;
            Ok(sort_by(at, target, var, next()))
        }
        ("bind", 3) if bindings && matches!(&target.kind, ExprKind::Ident(name) if name == "cel") => {
            let Expr { kind: ExprKind::Ident(var), .. } = next() else {
                return Err(Issue::new(at, "cel.bind() variable names must be simple identifiers"));
            };
            Ok(bind(at, &var, next(), next()))
        }
        ("optMap" | "optFlatMap", 2) => {
            let Expr { kind: ExprKind::Ident(var), .. } = next() else {
                return Err(Issue::new(at, format!("{name}() variable name must be a simple identifier")));
            };
            // The target is written twice: a chain of these doubles with each.
            if target.count() > REPEATED {
                return Err(Issue::new(at, format!("{name}() target is too large")));
            }
            Ok(optional_map(at, target, var, next(), name == "optFlatMap"))
        }
        _ => {
            let args = args.collect();
            Ok(Expr::new(at, ExprKind::Call { function: name.into(), target: Some(Box::new(target)), args }))
        }
    }
}

fn accu(at: u32) -> Expr {
    Expr::ident(at, ACCU)
}

fn variable(expr: Expr) -> Result<String, Issue> {
    match expr.kind {
        ExprKind::Ident(name) if name == ACCU || name == "__result__" => {
            Err(Issue::new(expr.at, "iteration variable overwrites accumulator variable"))
        }
        ExprKind::Ident(name) if !name.starts_with('.') => Ok(name),
        _ => Err(Issue::new(expr.at, "argument must be a simple name")),
    }
}

fn variables(first: Expr, second: Expr) -> Result<(String, String), Issue> {
    let at = second.at;
    let (first, second) = (variable(first)?, variable(second)?);
    if first == second {
        return Err(Issue::new(at, format!("duplicate variable name: {first}")));
    }
    Ok((first, second))
}

#[allow(clippy::too_many_arguments)]
fn fold(at: u32, range: Expr, var: String, var2: Option<String>, init: Expr, cond: Expr, step: Expr, result: Expr) -> Expr {
    Expr::new(at, ExprKind::Fold(Box::new(Fold { range, var, var2, accu: ACCU.into(), init, cond, step, result })))
}

fn quantifier(at: u32, name: &str, range: Expr, var: String, var2: Option<String>, test: Expr) -> Expr {
    let call = |name: &str, args| Expr::call(at, name, args);
    match name {
        "all" => {
            let cond = call("@not_strictly_false", vec![accu(at)]);
            fold(at, range, var, var2, Expr::bool(at, true), cond, call("_&&_", vec![accu(at), test]), accu(at))
        }
        "exists" => {
            let cond = call("@not_strictly_false", vec![call("!_", vec![accu(at)])]);
            fold(at, range, var, var2, Expr::bool(at, false), cond, call("_||_", vec![accu(at), test]), accu(at))
        }
        _ => {
            let more = call("_+_", vec![accu(at), Expr::int(at, 1)]);
            let step = call("_?_:_", vec![test, more, accu(at)]);
            let result = call("_==_", vec![accu(at), Expr::int(at, 1)]);
            fold(at, range, var, var2, Expr::int(at, 0), Expr::bool(at, true), step, result)
        }
    }
}

fn filtered(at: u32, filter: Option<Expr>, step: Expr) -> Expr {
    match filter {
        Some(filter) => Expr::call(at, "_?_:_", vec![filter, step, accu(at)]),
        None => step,
    }
}

fn collect(at: u32, range: Expr, var: String, var2: Option<String>, filter: Option<Expr>, item: Expr) -> Expr {
    let list = |items| Expr::new(at, ExprKind::List(items));
    let step = filtered(at, filter, Expr::call(at, "_+_", vec![accu(at), list(vec![(false, item)])]));
    fold(at, range, var, var2, list(Vec::new()), Expr::bool(at, true), step, accu(at))
}

/// `expr` with `var` standing for a value: a loop over nothing, whose accumulator is the variable.
fn bind(at: u32, var: &str, value: Expr, expr: Expr) -> Expr {
    let accu = var.to_string();
    let (range, cond, step) = (Expr::new(at, ExprKind::List(Vec::new())), Expr::bool(at, false), Expr::ident(at, var));
    let fold = Fold { range, var: "#unused".into(), var2: None, accu, init: value, cond, step, result: expr };
    Expr::new(at, ExprKind::Fold(Box::new(fold)))
}

/// The list, ordered by what each item has for a key.
fn sort_by(at: u32, list: Expr, var: String, key: Expr) -> Expr {
    const INPUT: &str = "@sortBy_input";
    let keys = collect(at, Expr::ident(at, INPUT), var, None, None, key);
    let target = Some(Box::new(Expr::ident(at, INPUT)));
    let sort = ExprKind::Call { function: "@sortByAssociatedKeys".into(), target, args: vec![keys] };
    bind(at, INPUT, list, Expr::new(at, sort))
}

/// `target.hasValue() ? optional.of(<mapping with var = target.value()>) : optional.none()`
fn optional_map(at: u32, target: Expr, var: String, mapping: Expr, flat: bool) -> Expr {
    let member = |target: Expr, name: &str| {
        Expr::new(at, ExprKind::Call { function: name.into(), target: Some(Box::new(target)), args: Vec::new() })
    };
    let value = member(target.clone(), "value");
    let with = bind(at, &var, value, mapping);
    let optional = |name: &str, args| {
        let target = Some(Box::new(Expr::ident(at, "optional")));
        Expr::new(at, ExprKind::Call { function: name.into(), target, args })
    };
    let some = if flat { with } else { optional("of", vec![with]) };
    Expr::call(at, "_?_:_", vec![member(target, "hasValue"), some, optional("none", Vec::new())])
}

//! How functions are declared: a name, the shapes of arguments it takes, and what runs.

use crate::error::EvalError;
use crate::library;
use crate::types::Type;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A type in a declaration. `A` and `B` stand for any type, the same at each place.
#[derive(Clone, Copy, Debug)]
pub enum T {
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    A,
    B,
    List(&'static T),
    Map(&'static T, &'static T),
    Optional(&'static T),
    Type(&'static T),
    Opaque(&'static str),
}

impl T {
    /// As a type, with `base` as `A` and the next as `B`.
    pub fn instantiate(self, base: u32) -> Type {
        match self {
            Self::Dyn => Type::Dyn,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::String => Type::String,
            Self::Bytes => Type::Bytes,
            Self::Timestamp => Type::Timestamp,
            Self::Duration => Type::Duration,
            Self::A => Type::Param(base),
            Self::B => Type::Param(base + 1),
            Self::List(inner) => Type::list(inner.instantiate(base)),
            Self::Map(key, value) => Type::map(key.instantiate(base), value.instantiate(base)),
            Self::Optional(inner) => Type::optional(inner.instantiate(base)),
            Self::Type(inner) => Type::of_type(inner.instantiate(base)),
            Self::Opaque(name) => Type::Opaque(name),
        }
    }
}

#[derive(Debug)]
pub struct Overload {
    /// Whether it is called on its first argument.
    pub member: bool,
    pub params: &'static [T],
    pub result: T,
}

pub const fn on(params: &'static [T], result: T) -> Overload {
    Overload { member: true, params, result }
}

pub const fn of(params: &'static [T], result: T) -> Overload {
    Overload { member: false, params, result }
}

/// The arguments, the one that it is called on first.
pub type Run = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

pub struct Function {
    pub name: &'static str,
    pub overloads: &'static [Overload],
    pub run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

pub const fn function(name: &'static str, overloads: &'static [Overload], run: Run) -> Function {
    Function { name, overloads, run }
}

pub fn find(name: &str) -> Option<&'static Function> {
    static ALL: LazyLock<HashMap<&'static str, &'static Function>> =
        LazyLock::new(|| library::ALL.iter().copied().flatten().map(|f| (f.name, f)).collect());
    ALL.get(name).copied()
}

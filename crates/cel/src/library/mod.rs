//! The functions that expressions may call.

pub mod authorizer;
mod compare;
mod operators;
mod seen;
mod standard;

use crate::error::EvalError;
use crate::functions::Function;
use crate::types::Type;
pub(crate) use compare::{compare, equal};
use std::sync::Arc;

pub const ALL: &[&[Function]] = &[operators::FUNCTIONS, standard::FUNCTIONS, authorizer::FUNCTIONS];

/// What only functions make and take.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    Check(Arc<authorizer::Builder<'a>>),
    Decision(Arc<authorizer::Decision>),
}

impl Opaque<'_> {
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Check(builder) => builder.type_name(),
            Self::Decision(_) => authorizer::decision_name(),
        }
    }

    pub(crate) fn equal(&self, other: &Self) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (Self::Check(a), Self::Check(b)) => authorizer::equal(a, b),
            (Self::Decision(a), Self::Decision(b)) => a == b,
            _ => false,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        1
    }

    pub(crate) fn pattern_size(&self) -> u64 {
        1
    }
}

/// The type that goes by a name in an expression.
pub fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => Type::of_type(Type::Dyn),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        _ => return OPAQUE.iter().copied().flatten().find(|known| **known == name).map(|known| Type::Opaque(known)),
    })
}

/// The names of types that only functions make.
const OPAQUE: &[&[&str]] = &[authorizer::NAMES];

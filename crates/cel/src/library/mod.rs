//! The functions that expressions may call.

pub mod authorizer;
mod compare;
mod format_text;
mod formats;
mod lists;
mod net;
mod numbers;
mod operators;
mod seen;
mod standard;
mod strings;
mod url;

use crate::error::EvalError;
use crate::functions::Function;
use crate::types::Type;
pub(crate) use compare::{compare, equal};
use ipnet::IpNet;
use meta::quantity::Quantity;
use std::net::IpAddr;
use std::sync::Arc;

pub const ALL: &[&[Function]] = &[
    operators::FUNCTIONS,
    standard::FUNCTIONS,
    strings::FUNCTIONS,
    lists::FUNCTIONS,
    net::FUNCTIONS,
    url::FUNCTIONS,
    numbers::FUNCTIONS,
    formats::FUNCTIONS,
    authorizer::FUNCTIONS,
];

/// What only functions make and take.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    Check(Arc<authorizer::Builder<'a>>),
    Decision(Arc<authorizer::Decision>),
    Ip(IpAddr),
    Cidr(IpNet),
    Url(Arc<url::Url>),
    Quantity(Quantity),
    Semver(Arc<semver::Version>),
    Format(&'static formats::Format),
}

impl Opaque<'_> {
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Check(builder) => builder.type_name(),
            Self::Decision(_) => authorizer::decision_name(),
            Self::Ip(_) => net::IP,
            Self::Cidr(_) => net::CIDR,
            Self::Url(_) => url::URL,
            Self::Quantity(_) => numbers::QUANTITY,
            Self::Semver(_) => numbers::SEMVER,
            Self::Format(_) => formats::FORMAT,
        }
    }

    pub(crate) fn equal(&self, other: &Self) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (Self::Check(a), Self::Check(b)) => authorizer::equal(a, b),
            (Self::Decision(a), Self::Decision(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a.cmp(b).is_eq(),
            (Self::Semver(a), Self::Semver(b)) => a.cmp_precedence(b).is_eq(),
            (Self::Format(a), Self::Format(b)) => std::ptr::eq(*a, *b),
            _ => false,
        })
    }

    /// In bytes, as costs count them.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Cidr(net) => u64::from(net.prefix_len()).div_ceil(8),
            _ => 1,
        }
    }

    pub(crate) fn pattern_size(&self) -> u64 {
        if let Self::Format(format) = self { format.pattern } else { 1 }
    }

    /// As `string()` has it.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Ip(ip) => Some(ip.to_string()),
            Self::Cidr(net) => Some(net.to_string()),
            _ => None,
        }
    }
}

/// Whether it is an absolute URL, or a path from the root.
pub fn is_url(text: &str) -> bool {
    url::parse(text).is_ok()
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
const OPAQUE: &[&[&str]] = &[authorizer::NAMES, net::NAMES, url::NAMES, numbers::NAMES, formats::NAMES];

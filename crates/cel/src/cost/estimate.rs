//! What an expression may cost, before it is evaluated.

use crate::node::Node;
use crate::types::Type;

/// From, to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

pub type Estimate = Range;

/// Knows how large what is at a path may be: `["self", "spec", "items", "@items"]`.
pub trait Sizes: Sync {
    fn size(&self, path: &[&str], ty: &Type) -> Option<Range>;
}

/// Nothing is known of any size.
pub struct Unbounded;

impl Sizes for Unbounded {
    fn size(&self, _path: &[&str], _ty: &Type) -> Option<Range> {
        None
    }
}

pub fn estimate(_root: &Node, _sizes: &dyn Sizes) -> Estimate {
    Range { min: 0, max: u64::MAX }
}

//! The seam to authorization.

use crate::attributes::Attributes;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Nobody after this one is asked.
    Deny(String),
    NoOpinion(String),
}

pub trait Authorizer: Send + Sync + 'static {
    fn authorize(&self, attributes: &Attributes) -> Decision;
}

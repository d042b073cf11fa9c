//! Who a caller is and what it may do: the ways that come with the server.

pub mod bootstrap;
pub mod certificates;
pub mod node;
pub mod rbac;
pub mod tokens;

use crate::attributes::Attributes;
use crate::authenticator::{Authenticator, PeerCertificates};
use crate::authorizer::{Authorizer, Decision};
use crate::user::User;
use async_trait::async_trait;
use meta::ApiError;
use std::sync::Arc;

pub const AUTHENTICATED: &str = "system:authenticated";
pub const MASTERS: &str = "system:masters";

/// The members in order; the first that has an answer decides.
pub struct Union<T: ?Sized>(pub Vec<Arc<T>>);

#[async_trait]
impl Authenticator for Union<dyn Authenticator> {
    async fn authenticate(&self, parts: &http::request::Parts, peer: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
        let mut refused = None;
        for member in &self.0 {
            match member.authenticate(parts, peer).await {
                // Wrong credentials are not the same as none.
                Ok(Some(user)) if refused.is_some() && user.name == User::anonymous().name => break,
                Ok(Some(user)) => return Ok(Some(user)),
                Ok(None) => {}
                // Another member may still know these credentials.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(None), Err)
    }
}

impl Authorizer for Union<dyn Authorizer> {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        let mut reasons: Vec<String> = Vec::new();
        for member in &self.0 {
            match member.authorize(attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decision => return decision,
            }
        }
        Decision::NoOpinion(reasons.join(", "))
    }
}

/// Lets callers without credentials in as `system:anonymous`. Must be the last of a union, and a union only
/// gets to it when no member refused the credentials that were there.
pub struct Anonymous;

#[async_trait]
impl Authenticator for Anonymous {
    async fn authenticate(&self, parts: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
        // What looks like credentials and was not recognised is wrong rather than absent.
        Ok((!parts.headers.contains_key(http::header::AUTHORIZATION)).then(User::anonymous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refuses;

    #[async_trait]
    impl Authenticator for Refuses {
        async fn authenticate(&self, _: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
            Err(ApiError::unauthorized("Unauthorized"))
        }
    }

    #[tokio::test]
    async fn refused_credentials_do_not_become_anonymous() {
        let (parts, ()) = http::Request::new(()).into_parts();
        let refused = Union::<dyn Authenticator>(vec![Arc::new(Refuses), Arc::new(Anonymous)]);
        assert_eq!(refused.authenticate(&parts, None).await.unwrap_err().code, 401);
        let nothing = Union::<dyn Authenticator>(vec![Arc::new(Anonymous)]);
        assert_eq!(nothing.authenticate(&parts, None).await.unwrap().unwrap().name, User::anonymous().name);
    }
}

//! Who a caller is and what it may do: the ways that come with the server.

pub mod bootstrap;
pub mod bootstrap_tokens;
pub mod certificates;
pub mod front_proxy;
pub mod legacy_tokens;
pub mod node;
pub mod rbac;
pub mod tokens;

use crate::attributes::Attributes;
use crate::authenticator::{Authenticator, PeerCertificates};
use crate::authorizer::{Authorizer, Decision};
use crate::user::User;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use meta::ApiError;
use std::borrow::Cow;
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

/// The token of the `Authorization` header, or of the protocols that a browser's WebSocket offers.
pub fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    const OFFERED: &str = "base64url.bearer.authorization.k8s.io.";
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token.into());
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let encoded = offered.filter_map(|p| p.trim().strip_prefix(OFFERED)).next()?;
    let token = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()?;
    (!token.is_empty()).then_some(token.into())
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

    struct Knows;

    #[async_trait]
    impl Authenticator for Knows {
        async fn authenticate(&self, parts: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
            Ok(bearer(&parts.headers).map(|token| User::new(token, &[])))
        }
    }

    #[tokio::test]
    async fn another_may_know_what_one_refuses() {
        let union = Union::<dyn Authenticator>(vec![Arc::new(Refuses), Arc::new(Knows)]);
        let ask = async |name: &'static str, value: &'static str| {
            let (parts, ()) = http::Request::get("/").header(name, value).body(()).unwrap().into_parts();
            union.authenticate(&parts, None).await
        };
        assert_eq!(ask("authorization", "bearer jane").await.unwrap().unwrap().name, "jane");
        let offered = "base64url.bearer.authorization.k8s.io.amFuZQ, v5.channel.k8s.io";
        assert_eq!(ask("sec-websocket-protocol", offered).await.unwrap().unwrap().name, "jane");
        assert_eq!(ask("authorization", "Basic x").await.unwrap_err().code, 401);
    }
}

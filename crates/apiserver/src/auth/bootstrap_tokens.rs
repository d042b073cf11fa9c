//! Bootstrap tokens: secrets of `kube-system` by which a new node introduces itself.

use super::{AUTHENTICATED, bearer};
use crate::authenticator::{Authenticator, PeerCertificates};
use crate::objects::Objects;
use crate::user::User;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use meta::{ApiError, GroupResource, time, value};
use serde_json::Value;
use std::sync::Arc;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

#[derive(Clone)]
pub struct BootstrapTokens(pub Arc<dyn Objects>);

impl BootstrapTokens {
    /// None: no such token, or one that is not for this.
    pub fn verify(&self, token: &str) -> Option<User> {
        let (id, secret) = parse(token)?;
        let found = self.0.get(&GroupResource::new("", "secrets"), "kube-system", &format!("bootstrap-token-{id}"))?.value();
        let refused = |why: &str| {
            tracing::debug!(id, why, "a bootstrap token is refused");
            None
        };
        if value::at(&found, &["metadata", "deletionTimestamp"]).is_some() {
            return refused("it is being deleted");
        }
        if value::text(&found, &["type"]) != TYPE {
            return refused("its secret has another type");
        }
        if !same(data(&found, "token-secret").as_bytes(), secret.as_bytes()) || data(&found, "token-id") != id {
            return refused("it is another");
        }
        let expiration = data(&found, "expiration");
        if !expiration.is_empty() && time::parse(&expiration).map_or(true, |t| t <= Timestamp::now()) {
            return refused("it has expired");
        }
        if data(&found, "usage-bootstrap-authentication") != "true" {
            return refused("it is not for authentication");
        }
        let mut groups = vec![GROUP.to_string()];
        let extra = data(&found, "auth-extra-groups");
        for group in extra.split(',').map(str::trim).filter(|g| !g.is_empty()) {
            if !is_group(group) {
                return refused("a group is not one of bootstrappers");
            }
            if !groups.iter().any(|g| g == group) {
                groups.push(group.to_string());
            }
        }
        groups.sort();
        groups.push(AUTHENTICATED.into());
        Some(User { name: format!("system:bootstrap:{id}"), groups, ..User::default() })
    }
}

fn data(secret: &Value, key: &str) -> String {
    let bytes = STANDARD.decode(value::text(secret, &["data", key])).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// Six characters, a dot, sixteen characters.
fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// `system:bootstrappers:` and something that ends in a letter or a digit.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b':' || b == b'-';
    (1..=256).contains(&rest.len()) && rest.bytes().all(fits) && !rest.ends_with([':', '-'])
}

/// Takes as long for a wrong secret that is nearly right as for any other.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[async_trait]
impl Authenticator for BootstrapTokens {
    async fn authenticate(&self, parts: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
        Ok(bearer(&parts.headers).and_then(|token| self.verify(&token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::rbac::tests::Fixed;
    use serde_json::json;

    #[test]
    fn a_bootstrap_token_makes_a_bootstrapper() {
        let encode = |text: &str| STANDARD.encode(text);
        let user = |change: &dyn Fn(&mut Value)| {
            let mut secret = json!({"metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"}, "type": TYPE, "data": {
                "token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
                "usage-bootstrap-authentication": encode("true"), "auth-extra-groups": encode("system:bootstrappers:workers")}});
            change(&mut secret);
            BootstrapTokens(Arc::new(Fixed::of(&[("", "secrets", secret)]))).verify("abcdef.0123456789abcdef")
        };
        let good = user(&|_| {}).unwrap();
        assert_eq!(good.name, "system:bootstrap:abcdef");
        assert_eq!(good.groups, ["system:bootstrappers", "system:bootstrappers:workers", AUTHENTICATED]);
        for (key, text) in [
            ("token-secret", "0123456789abcdeX"),
            ("expiration", "2020-01-01T00:00:00Z"),
            ("usage-bootstrap-authentication", "false"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert_eq!(user(&|s| s["data"][key] = encode(text).into()), None, "{key}");
        }
        assert_eq!(user(&|s| s["type"] = "Opaque".into()), None);
        assert!(parse("abcdef.0123").is_none() && parse("ABCDEF.0123456789abcdef").is_none());
    }
}

//! Service account tokens: signed statements, bound to objects that must still be there.

use super::legacy_tokens::{self, Uses};
use super::{AUTHENTICATED, bearer};
use crate::authenticator::{Authenticator, PeerCertificates};
use crate::body::{self, Body};
use crate::handlers::{Context, Handler, Handlers, Warnings};
use crate::objects::Objects;
use crate::user::User;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Request, Response};
use jiff::Timestamp;
use meta::{ApiError, GroupResource, value};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub const EXTRA: &str = "authentication.kubernetes.io/";
/// Clocks differ; `nbf` may lie this far ahead.
const SKEW: i64 = 10;
/// Longer is no token.
const MAX: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the service account key is not a PKCS#8 P-256 key: {0}")]
    Rejected(String),
    #[error("no service account key is given")]
    None,
}

struct Public {
    id: String,
    point: Vec<u8>,
}

/// What a token is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub namespace: String,
    pub account: String,
    pub account_uid: String,
    /// `pod`, `secret` or `node` with its name and uid.
    pub bound: Option<(&'static str, String, String)>,
    /// The node of the bound pod.
    pub node: Option<(String, String)>,
}

pub struct Issued {
    pub token: String,
    pub expires: Timestamp,
}

/// ES256: the first signs, all verify, so that keys can be rotated.
struct Keys {
    signer: EcdsaKeyPair,
    public: Vec<Public>,
}

impl Keys {
    fn new(keys: &[Vec<u8>]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let open = |der: &Vec<u8>| {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).map_err(|e| KeyError::Rejected(e.to_string()))
        };
        let pairs = keys.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let public = pairs.iter().map(|pair| {
            let point = pair.public_key().as_ref().to_vec();
            Public { id: BASE64.encode(Sha256::digest(&point)), point }
        });
        let public = public.collect();
        let signer = pairs.into_iter().next().ok_or(KeyError::None)?;
        Ok(Self { signer, public })
    }
}

pub struct Tokens {
    keys: ArcSwap<Keys>,
    issuer: String,
    audiences: Vec<String>,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) uses: Uses,
}

impl Tokens {
    /// `keys`: PKCS#8 in DER. `audiences`: what tokens for this server say; the issuer when empty.
    pub fn new(keys: &[Vec<u8>], issuer: &str, audiences: Vec<String>, objects: Arc<dyn Objects>) -> Result<Self, KeyError> {
        let keys = ArcSwap::from_pointee(Keys::new(keys)?);
        let audiences = if audiences.is_empty() { vec![issuer.to_string()] } else { audiences };
        Ok(Self { keys, issuer: issuer.into(), audiences, objects, uses: Uses::default() })
    }

    /// From now on. Tokens that only the keys before can verify are no longer good.
    pub fn replace(&self, keys: &[Vec<u8>]) -> Result<(), KeyError> {
        self.keys.store(Arc::new(Keys::new(keys)?));
        Ok(())
    }

    /// A new key in the form that `new` takes.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|d| d.as_ref().to_vec())
            .map_err(|e| KeyError::Rejected(e.to_string()))
    }

    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub fn issue(&self, subject: &Subject, audiences: &[String], seconds: i64) -> Result<Issued, ApiError> {
        let now = Timestamp::now().as_second();
        let mut private = json!({
            "namespace": subject.namespace,
            "serviceaccount": {"name": subject.account, "uid": subject.account_uid},
        });
        if let Some((kind, name, uid)) = &subject.bound {
            private[*kind] = json!({"name": name, "uid": uid});
        }
        if let Some((name, uid)) = &subject.node {
            private["node"] = json!({"name": name, "uid": uid});
        }
        let claims = json!({
            "aud": audiences, "exp": now + seconds, "iat": now, "nbf": now, "iss": self.issuer,
            "jti": uuid::Uuid::new_v4().to_string(),
            "sub": format!("system:serviceaccount:{}:{}", subject.namespace, subject.account),
            "kubernetes.io": private,
        });
        let expires = Timestamp::from_second(now + seconds).map_err(ApiError::internal)?;
        Ok(Issued { token: self.sign(&claims)?, expires })
    }

    pub(super) fn sign(&self, claims: &Value) -> Result<String, ApiError> {
        let keys = self.keys.load();
        let header = json!({"alg": "ES256", "kid": keys.public[0].id});
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = keys.signer.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| ApiError::internal("cannot sign a token"))?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The user and the audiences that both the token and `audiences` name. None: not a token of this issuer. What is
    /// to be said of it besides goes to `notes`.
    pub fn verify(&self, token: &str, audiences: &[String], notes: &Warnings) -> Result<Option<(User, Vec<String>)>, String> {
        if token.len() > MAX {
            return Ok(None);
        }
        let Some(claims) = read(token, 1) else { return Ok(None) };
        let issuer = value::text(&claims, &["iss"]);
        let legacy = issuer == legacy_tokens::ISSUER;
        if !legacy && issuer != self.issuer {
            return Ok(None);
        }
        self.check_signature(token)?;
        if legacy {
            let common = Self::common(audiences, self.audiences.iter().map(String::as_str).collect())?;
            return self.legacy_user(&claims, token, notes).map(|user| Some((user, common)));
        }
        let now = Timestamp::now().as_second();
        if value::int(&claims, &["exp"]).is_none_or(|t| t <= now) {
            return Err("service account token has expired".into());
        }
        if ["nbf", "iat"].iter().any(|c| value::int(&claims, &[c]).is_some_and(|t| t > now + SKEW)) {
            return Err("service account token is not valid yet".into());
        }
        let theirs: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let common = Self::common(audiences, theirs)?;
        self.user(&claims, now).map(|user| Some((user, common)))
    }

    fn common(audiences: &[String], theirs: Vec<&str>) -> Result<Vec<String>, String> {
        let common: Vec<String> = audiences.iter().filter(|a| theirs.contains(&a.as_str())).cloned().collect();
        if common.is_empty() {
            return Err(format!("token audiences {theirs:?} is invalid for the target audiences {audiences:?}"));
        }
        Ok(common)
    }

    pub(super) fn account(namespace: &str, account: &str, uid: &str) -> User {
        let mut user = User::new(format!("system:serviceaccount:{namespace}:{account}"), &["system:serviceaccounts"]);
        user.uid = uid.into();
        user.groups.push(format!("system:serviceaccounts:{namespace}"));
        user.groups.push(AUTHENTICATED.into());
        user
    }

    fn check_signature(&self, token: &str) -> Result<(), String> {
        let bad = || "invalid signature".to_string();
        let header = read(token, 0).ok_or_else(bad)?;
        // The algorithm is fixed; a token does not choose how it is checked.
        if value::text(&header, &["alg"]) != "ES256" {
            return Err(bad());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(bad)?;
        let signature = BASE64.decode(signature).map_err(|_| bad())?;
        let id = value::text(&header, &["kid"]);
        let fits = |key: &&Public| {
            (id.is_empty() || key.id == id)
                && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point).verify(signed.as_bytes(), &signature).is_ok()
        };
        self.keys.load().public.iter().find(fits).map(|_| ()).ok_or_else(bad)
    }

    fn user(&self, claims: &Value, now: i64) -> Result<User, String> {
        let private = claims.get("kubernetes.io").unwrap_or(&Value::Null);
        let namespace = value::text(private, &["namespace"]);
        let account = value::text(private, &["serviceaccount", "name"]);
        if namespace.is_empty()
            || account.is_empty()
            || value::text(claims, &["sub"]) != format!("system:serviceaccount:{namespace}:{account}")
        {
            return Err("token is not of a service account".into());
        }
        let uid = value::text(private, &["serviceaccount", "uid"]);
        self.alive("serviceaccounts", namespace, account, uid, now)?;
        let mut user = Self::account(namespace, account, uid);
        let mut extra = |key: &str, text: &str| {
            if !text.is_empty() {
                user.extra.insert(format!("{EXTRA}{key}"), vec![text.to_string()]);
            }
        };
        for (kind, plural) in [("pod", "pods"), ("secret", "secrets"), ("node", "nodes")] {
            let name = value::text(private, &[kind, "name"]);
            if name.is_empty() {
                continue;
            }
            let uid = value::text(private, &[kind, "uid"]);
            let with_pod = kind == "node" && private.get("pod").is_some();
            if !with_pod {
                self.alive(plural, if kind == "node" { "" } else { namespace }, name, uid, now)?;
            }
            if kind != "secret" {
                extra(&format!("{kind}-name"), name);
                extra(&format!("{kind}-uid"), uid);
            }
        }
        let id = value::text(claims, &["jti"]);
        if !id.is_empty() {
            extra("credential-id", &format!("JTI={id}"));
        }
        Ok(user)
    }

    /// A deleted object's tokens die with it, a minute later so that it can be wound up.
    fn alive(&self, plural: &str, namespace: &str, name: &str, uid: &str, now: i64) -> Result<(), String> {
        let object = self.objects.get(&GroupResource::new("", plural), namespace, name);
        let object = object.ok_or_else(|| format!("{plural} {name:?} of the token not found"))?;
        if object.uid() != uid {
            return Err(format!("{plural} {name:?} of the token has another UID"));
        }
        let deleted = meta::time::parse(value::text(&object.value(), &["metadata", "deletionTimestamp"])).ok();
        match deleted {
            Some(t) if t.as_second() + 60 < now => Err(format!("{plural} {name:?} of the token has been deleted")),
            _ => Ok(()),
        }
    }

    pub fn jwks(&self) -> Value {
        let key = |k: &Public| {
            json!({"use": "sig", "kty": "EC", "kid": k.id, "crv": "P-256", "alg": "ES256",
                "x": BASE64.encode(&k.point[1..33]), "y": BASE64.encode(&k.point[33..])})
        };
        // 65: an uncompressed point of P-256.
        let keys: Vec<Value> = self.keys.load().public.iter().filter(|k| k.point.len() == 65).map(key).collect();
        json!({"keys": keys})
    }

    pub fn discovery(&self) -> Value {
        json!({
            "issuer": self.issuer, "jwks_uri": format!("{}/openid/v1/jwks", self.issuer.trim_end_matches('/')),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The two documents by which others verify these tokens.
    pub fn register(self: &Arc<Self>, handlers: &mut Handlers) {
        let keys = Document { tokens: self.clone(), content: "application/jwk-set+json", text: Self::jwks };
        let configuration = Document { tokens: self.clone(), content: "application/json", text: Self::discovery };
        handlers.route("/openid/v1/jwks", Arc::new(keys));
        handlers.route("/.well-known/openid-configuration", Arc::new(configuration));
    }
}

pub(super) fn read(token: &str, part: usize) -> Option<Value> {
    let mut parts = token.split('.');
    let text = parts.nth(part)?;
    (token.split('.').count() == 3).then_some(())?;
    serde_json::from_slice(&BASE64.decode(text).ok()?).ok()
}

/// Written for each who asks: the keys change while the server runs.
struct Document {
    tokens: Arc<Tokens>,
    content: &'static str,
    text: fn(&Tokens) -> Value,
}

#[async_trait]
impl Handler for Document {
    async fn handle(&self, _: &Context, _: Request<Body>) -> Result<Response<Body>, ApiError> {
        let answer = Response::builder().header(CONTENT_TYPE, self.content).header(CACHE_CONTROL, "public, max-age=3600");
        answer.body(body::full((self.text)(&self.tokens).to_string())).map_err(ApiError::internal)
    }
}

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, parts: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
        let Some(token) = bearer(&parts.headers) else { return Ok(None) };
        let notes = parts.extensions.get::<Warnings>().cloned().unwrap_or_default();
        match self.verify(&token, &self.audiences, &notes) {
            Ok(found) => Ok(found.map(|(user, _)| user)),
            Err(reason) => {
                tracing::debug!(%reason, "a token is refused");
                Err(ApiError::unauthorized("Unauthorized"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::rbac::tests::Fixed;

    fn verify(tokens: &Tokens, token: &str, audiences: &[String]) -> Result<Option<(User, Vec<String>)>, String> {
        tokens.verify(token, audiences, &Warnings::default())
    }

    #[test]
    fn tokens_live_as_long_as_what_they_are_bound_to() {
        let account = json!({"metadata": {"namespace": "a", "name": "s", "uid": "1"}});
        let pod = json!({"metadata": {"namespace": "a", "name": "p", "uid": "2"}});
        let objects = Arc::new(Fixed::of(&[("", "serviceaccounts", account), ("", "pods", pod)]));
        let key = Tokens::generate().unwrap();
        let tokens = Tokens::new(std::slice::from_ref(&key), "https://i", Vec::new(), objects.clone()).unwrap();
        let subject = Subject {
            namespace: "a".into(),
            account: "s".into(),
            account_uid: "1".into(),
            bound: Some(("pod", "p".into(), "2".into())),
            node: None,
        };
        let audience = ["https://i".to_string()];
        let token = tokens.issue(&subject, &audience, 600).unwrap().token;
        let (user, _) = verify(&tokens, &token, &audience).unwrap().unwrap();
        assert_eq!(user.name, "system:serviceaccount:a:s");
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:a", AUTHENTICATED]);
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert!(verify(&tokens, &token, &["other".to_string()]).is_err());
        assert!(verify(&tokens, &tokens.issue(&subject, &audience, -5).unwrap().token, &audience).is_err());
        let stranger = Tokens::new(&[Tokens::generate().unwrap()], "https://i", Vec::new(), objects).unwrap();
        assert!(verify(&stranger, &token, &audience).is_err());
        let gone = Subject { bound: Some(("pod", "p".into(), "3".into())), ..subject };
        assert!(verify(&tokens, &tokens.issue(&gone, &audience, 600).unwrap().token, &audience).is_err());
        assert!(verify(&tokens, "nonsense", &audience).unwrap().is_none());
    }
}

//! What becomes of one resource's objects on their way to the store and back.

use super::provider::Provider;
use bytes::Bytes;
use std::sync::{Arc, LazyLock};

/// Everything encrypted begins with this, whoever wrote it.
const ENCRYPTED: &[u8] = b"k8s:enc:";

pub struct Transformer {
    /// The first writes; all of them read.
    providers: Vec<Provider>,
    /// What the bytes begin with that are written now.
    writes: Arc<str>,
}

/// Bytes from the store, readable.
pub struct Opened {
    pub plain: Bytes,
    /// How they were stored: provider and key, empty for plain.
    pub stored: Arc<str>,
}

static PLAIN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
static IDENTITY: LazyLock<Arc<Transformer>> = LazyLock::new(|| Arc::new(Transformer::new(vec![Provider::Identity])));

impl Transformer {
    pub fn new(providers: Vec<Provider>) -> Self {
        let writes =
            providers.first().map_or_else(|| PLAIN.clone(), |p| p.keys().first().map_or_else(|| PLAIN.clone(), |k| begins(p, &k.name)));
        Self { providers, writes }
    }

    pub fn identity() -> Arc<Self> {
        IDENTITY.clone()
    }

    /// How objects are stored now, to compare with [`Opened::stored`]: what was stored otherwise is stale.
    pub fn writes(&self) -> &Arc<str> {
        &self.writes
    }

    pub fn is_encrypted(stored: &[u8]) -> bool {
        stored.starts_with(ENCRYPTED)
    }

    /// `place` is the object's key in the store.
    pub fn seal(&self, plain: Bytes, place: &str) -> Result<Bytes, String> {
        let Some((provider, key)) = self.providers.first().and_then(|p| Some((p, p.keys().first()?))) else { return Ok(plain) };
        let sealed = provider.seal(key, &plain, place).map_err(|_| format!("unable to encrypt {place}"))?;
        Ok([self.writes.as_bytes(), &sealed].concat().into())
    }

    /// The error says what is wrong, and holds nothing of what is stored.
    pub fn open(&self, stored: &Bytes, place: &str) -> Result<Opened, String> {
        if !stored.starts_with(ENCRYPTED) {
            if self.providers.iter().any(|p| matches!(p, Provider::Identity)) {
                return Ok(Opened { plain: stored.clone(), stored: PLAIN.clone() });
            }
            return Err("no matching prefix found: it is not encrypted, and the identity provider is not configured".into());
        }
        let mut known = false;
        for provider in &self.providers {
            let Some(rest) = stored.strip_prefix(provider.prefix().as_bytes()).filter(|_| !provider.keys().is_empty()) else { continue };
            known = true;
            for key in provider.keys() {
                let Some(sealed) = rest.strip_prefix(key.name.as_bytes()).and_then(|r| r.strip_prefix(b":")) else { continue };
                let plain = provider.open(key, sealed, place);
                let plain =
                    plain.map_err(|_| format!("it cannot be decrypted with the key {:?}: wrong key, or altered bytes", key.name))?;
                return Ok(Opened { plain: plain.into(), stored: begins(provider, &key.name) });
            }
        }
        Err(match (known, name(stored)) {
            (true, Some((provider, key))) => {
                format!("no matching key was found: it is encrypted by {provider} with the key {key:?}, which is not configured")
            }
            (false, Some((provider, _))) => {
                format!("no matching prefix found: it is encrypted by {provider}, which is not configured for this resource")
            }
            (_, None) => "no matching prefix found: it is encrypted in a form that is not known".into(),
        })
    }
}

fn begins(provider: &Provider, key: &str) -> Arc<str> {
    format!("{}{key}:", provider.prefix()).into()
}

/// The provider and the key that an encrypted object names.
fn name(stored: &[u8]) -> Option<(&str, &str)> {
    let mut parts = stored.strip_prefix(ENCRYPTED)?.splitn(4, |b| *b == b':');
    let (provider, _version, key, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some((std::str::from_utf8(provider).ok()?, std::str::from_utf8(key).ok()?))
}

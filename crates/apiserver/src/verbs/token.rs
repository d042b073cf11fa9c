//! Continue tokens: the moment that a list is of, and where its next part begins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meta::ApiError;
use serde::{Deserialize, Serialize};
use store::Revision;

const VERSION: &str = "meta.k8s.io/v1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    v: String,
    /// -1: whatever is newest, for a list whose moment has been forgotten.
    rv: i64,
    /// The key, below the kind's prefix, from which on objects are to come.
    pub start: String,
}

impl Token {
    pub fn new(revision: Revision, start: impl Into<String>) -> Self {
        Self { v: VERSION.into(), rv: i64::try_from(revision).unwrap_or(i64::MAX), start: start.into() }
    }

    /// None: whatever is newest.
    pub fn revision(&self) -> Option<Revision> {
        Revision::try_from(self.rv).ok().filter(|r| *r > 0)
    }

    /// The same place in the newest state.
    pub fn newest(&self) -> Self {
        Self { rv: -1, ..self.clone() }
    }

    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| invalid(&e.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|e| invalid(&e.to_string()))?;
        if token.v != VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {:?}", token.v)));
        }
        if token.rv == 0 {
            return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if token.start.is_empty() || token.start.contains("..") {
            return Err(invalid("invalid encoded start key"));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_nonsense_is_refused() {
        let token = Token::new(7, "ns/name\0");
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        assert_eq!(Token::decode(&token.newest().encode()).unwrap().revision(), None);
        assert!(Token::decode("%%").is_err() && Token::decode("e30").is_err());
    }
}

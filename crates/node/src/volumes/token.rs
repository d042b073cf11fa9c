//! Service account tokens for projected volumes, asked from the API server, bound to their pod, and
//! replaced when four fifths of their life (or a day) are over.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

const LONGEST_USE: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    pod: String,
    audience: String,
    seconds: i64,
}

struct Token {
    token: String,
    renew: Timestamp,
    expires: Timestamp,
}

pub struct Tokens {
    client: Client,
    known: Mutex<HashMap<Asked, Token>>,
}

impl Tokens {
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    pub async fn get(&self, pod: &Pod, source: &ServiceAccountTokenProjection) -> Result<String, String> {
        let uid = pod.uid().unwrap_or_default();
        let seconds = source.expiration_seconds.unwrap_or(3600);
        let asked = Asked { pod: uid.clone(), audience: source.audience.clone().unwrap_or_default(), seconds };
        let now = Timestamp::now();
        if let Some(token) = self.known.lock().get(&asked).filter(|t| now < t.renew) {
            return Ok(token.token.clone());
        }
        match self.ask(pod, &asked).await {
            Ok(token) => {
                let text = token.token.clone();
                self.known.lock().insert(asked, token);
                Ok(text)
            }
            // The old one serves until it really ends.
            Err(error) => match self.known.lock().get(&asked).filter(|t| now < t.expires) {
                Some(token) => Ok(token.token.clone()),
                None => Err(format!("failed to fetch token: {error}")),
            },
        }
    }

    async fn ask(&self, pod: &Pod, asked: &Asked) -> Result<Token, String> {
        let account = pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".into());
        let bound = BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        };
        let spec = TokenRequestSpec {
            audiences: Some(if asked.audience.is_empty() { Vec::new() } else { vec![asked.audience.clone()] }),
            bound_object_ref: Some(bound),
            expiration_seconds: Some(asked.seconds),
        };
        let request = TokenRequest { spec: Some(spec), ..Default::default() };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let answer = api.create_token_request(&account, &PostParams::default(), &request).await.map_err(|e| e.to_string())?;
        let status = answer.status.ok_or("the answer has no status")?;
        let token = status.token.ok_or("the answer has no token")?;
        let now = Timestamp::now();
        let expires = status.expiration_timestamp.map_or(now + SignedDuration::from_secs(asked.seconds), |t| t.0);
        let life = now.duration_until(expires);
        Ok(Token { token, expires, renew: now + (life * 4 / 5).min(LONGEST_USE) })
    }

    /// When the first token of the pod is due.
    pub fn next_renewal(&self, uid: &str) -> Option<Duration> {
        let now = Timestamp::now();
        let known = self.known.lock();
        let first = known.iter().filter(|(asked, _)| asked.pod == uid).map(|(_, t)| t.renew).min()?;
        Some(Duration::try_from(now.duration_until(first)).unwrap_or_default().max(Duration::from_secs(10)))
    }

    pub fn forget(&self, uid: &str) {
        self.known.lock().retain(|asked, _| asked.pod != uid);
    }
}

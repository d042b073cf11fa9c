//! Calls to webhooks that objects name: by a URL, or by a Service. One connection pool for each way of reaching one,
//! bounded answers, and a time limit that holds over dialling, sending and reading.

mod connect;
mod resolve;
mod words;

use crate::objects::Objects;
use bytes::{Bytes, BytesMut};
use connect::Connector;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use meta::{ApiError, value};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How many pools are kept; beyond that all begin anew.
const POOLS: usize = 256;
const IDLE: Duration = Duration::from_secs(90);

/// Where a webhook is, and whose certificates it may show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub place: Place,
    /// PEM; empty: whom this machine trusts.
    pub ca: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Url(String),
    Service { namespace: String, name: String, port: u16, path: String },
}

impl Endpoint {
    /// Of a `clientConfig`. None where it names neither.
    pub fn parse(config: &Value) -> Option<Self> {
        use base64::Engine;
        let ca = base64::engine::general_purpose::STANDARD.decode(value::text(config, &["caBundle"])).unwrap_or_default();
        let ca = if ca.iter().all(u8::is_ascii_whitespace) { Vec::new() } else { ca };
        let place = match config.get("service") {
            Some(service) if service.is_object() => Place::Service {
                namespace: value::text(service, &["namespace"]).into(),
                name: value::text(service, &["name"]).into(),
                port: value::int(service, &["port"]).and_then(|p| u16::try_from(p).ok()).unwrap_or(443),
                path: value::text(service, &["path"]).into(),
            },
            _ => match value::text(config, &["url"]) {
                "" => return None,
                url => Place::Url(url.into()),
            },
        };
        Some(Self { place, ca })
    }

    fn url(&self, timeout: Option<Duration>) -> String {
        let query = timeout.map_or_else(String::new, |t| format!("?timeout={}s", t.as_millis().div_ceil(1000)));
        match &self.place {
            Place::Url(url) => format!("{url}{query}"),
            Place::Service { namespace, name, port, path } => {
                let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
                format!("https://{name}.{namespace}.svc:{port}{slash}{path}{query}")
            }
        }
    }
}

/// Why there is no answer, in upstream's words.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("Post {0:?}: {1}")]
    Transport(String, String),
    /// It answered, but with an error.
    #[error("{}", .0.message)]
    Status(Box<ApiError>),
    #[error("couldn't get version/kind; json parse error: {0}")]
    Json(serde_json::Error),
    #[error("could not get REST client: {0}")]
    Config(String),
}

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub timeout: Duration,
    /// Whether the webhook is told of the timeout.
    pub announced: bool,
    pub bytes: usize,
}

type Http = Client<Connector, Full<Bytes>>;

/// The pools. Shared by everything that calls webhooks.
pub struct Webhooks {
    objects: Arc<dyn Objects>,
    pools: Mutex<HashMap<Endpoint, Http>>,
}

impl Webhooks {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, pools: Mutex::default() }
    }

    fn pool(&self, endpoint: &Endpoint) -> Result<Http, CallError> {
        if let Some(pool) = self.pools.lock().get(endpoint) {
            return Ok(pool.clone());
        }
        let connector = Connector::new(endpoint, self.objects.clone()).map_err(CallError::Config)?;
        let mut builder = Client::builder(TokioExecutor::new());
        let pool: Http = builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector);
        let mut pools = self.pools.lock();
        if pools.len() >= POOLS {
            pools.clear();
        }
        Ok(pools.entry(endpoint.clone()).or_insert(pool).clone())
    }

    /// Posts JSON, and reads the JSON that comes back.
    pub async fn post(&self, endpoint: &Endpoint, body: &Value, limits: Limits) -> Result<Value, CallError> {
        let url = endpoint.url(limits.announced.then_some(limits.timeout));
        let failed = |why: String| CallError::Transport(url.clone(), why);
        let pool = self.pool(endpoint)?;
        let bytes = serde_json::to_vec(body).map_err(|e| failed(e.to_string()))?;
        let request = Request::post(&url)
            .header(ACCEPT, HeaderValue::from_static("application/json, */*"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"))
            .body(Full::from(bytes))
            .map_err(|e| failed(e.to_string()))?;
        let exchange = async {
            let response = pool.request(request).await.map_err(|e| failed(words::transport(&e)))?;
            let status = response.status();
            let mut body = response.into_body();
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| failed(words::transport(&e)))?;
                let Ok(data) = frame.into_data() else { continue };
                if read.len() + data.len() > limits.bytes {
                    return Err(failed(format!("the answer has more than {} bytes", limits.bytes)));
                }
                read.extend_from_slice(&data);
            }
            Ok((status, read.freeze()))
        };
        let exchanged = tokio::time::timeout(limits.timeout, exchange).await;
        let (status, bytes) = exchanged.unwrap_or_else(|_| Err(failed("context deadline exceeded".into())))?;
        understand(status, &bytes)
    }
}

fn understand(status: StatusCode, bytes: &[u8]) -> Result<Value, CallError> {
    let parsed = serde_json::from_slice::<Value>(bytes);
    if (200..=206).contains(&status.as_u16()) {
        return parsed.map_err(CallError::Json);
    }
    let said = parsed.ok().filter(|v| value::text(v, &["kind"]) == "Status" && value::text(v, &["status"]) != "Success");
    Err(CallError::Status(Box::new(match said {
        Some(status) => ApiError::from_status(&status),
        None => words::status(status.as_u16(), &String::from_utf8_lossy(&bytes[..bytes.len().min(2048)])),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn urls_name_the_service_and_the_time_that_is_left() {
        let service = Endpoint::parse(&json!({"service": {"namespace": "n", "name": "s", "port": 8443, "path": "deny"}})).unwrap();
        assert_eq!(service.url(Some(Duration::from_millis(1500))), "https://s.n.svc:8443/deny?timeout=2s");
        let url = Endpoint::parse(&json!({"url": "https://h/p", "caBundle": "Cgo="})).unwrap();
        assert_eq!((url.url(None).as_str(), url.ca.len()), ("https://h/p", 0));
        assert!(Endpoint::parse(&json!({})).is_none());
    }

    #[test]
    fn an_error_is_told_as_the_client_libraries_tell_it() {
        let text = |code, body: &str| understand(StatusCode::from_u16(code).unwrap(), body.as_bytes()).unwrap_err().to_string();
        assert_eq!(text(404, "no"), "the server could not find the requested resource");
        assert_eq!(text(500, "boom"), "an error on the server (\"boom\") has prevented the request from succeeding");
        assert_eq!(text(403, r#"{"kind":"Status","status":"Failure","message":"not you","code":403}"#), "not you");
        assert!(text(200, "no json").starts_with("couldn't get version/kind; json parse error"));
    }
}

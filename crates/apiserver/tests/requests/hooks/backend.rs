//! A webhook: an HTTPS server of its own, with a certificate made here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

pub enum Reply {
    Json(Value),
    Hang,
    /// Only after so long.
    Slow(Duration, Box<Reply>),
    Code(u16, &'static str),
}

type Answer = dyn Fn(&str, &Value) -> Reply + Send + Sync;

pub struct Backend {
    pub address: SocketAddr,
    pub ca: String,
    /// The path of each call and what was sent.
    pub calls: Arc<Mutex<Vec<(String, Value)>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Backend {
    pub async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let names = ["127.0.0.1", "localhost", "hook.default.svc"].map(String::from);
        let own = rcgen::generate_simple_self_signed(names.to_vec()).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = builder.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let backend = Self { address, ca: STANDARD.encode(own.cert.pem()), calls: Arc::default(), connections: Arc::default() };
        let (calls, connections) = (backend.calls.clone(), backend.connections.clone());
        let answer: Arc<Answer> = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answer, calls) = (acceptor.clone(), answer.clone(), calls.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| respond(answer.clone(), calls.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        backend
    }

    pub fn client(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca})
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What was asked at a path.
    pub fn asked(&self, path: &str) -> Vec<Value> {
        self.calls.lock().iter().filter(|(p, _)| p == path).map(|(_, review)| review["request"].clone()).collect()
    }
}

async fn respond(
    answer: Arc<Answer>,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let path = request.uri().path().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    calls.lock().push((path.clone(), review.clone()));
    let mut reply = answer(&path, &review);
    while let Reply::Slow(delay, then) = reply {
        tokio::time::sleep(delay).await;
        reply = *then;
    }
    let (code, text) = match reply {
        Reply::Json(value) => (200, value.to_string()),
        Reply::Code(code, text) => (code, text.to_string()),
        Reply::Hang | Reply::Slow(..) => std::future::pending().await,
    };
    Ok(Response::builder().status(code).body(Full::from(text)).unwrap())
}

/// An `AdmissionReview` that answers another.
pub fn review(asked: &Value, mut response: Value) -> Reply {
    response["uid"] = asked["request"]["uid"].clone();
    Reply::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

pub fn allow(asked: &Value) -> Reply {
    review(asked, json!({"allowed": true}))
}

pub fn deny(asked: &Value, message: &str) -> Reply {
    review(asked, json!({"allowed": false, "status": {"message": message, "reason": "Forbidden", "code": 403}}))
}

pub fn patch(asked: &Value, operations: Value) -> Reply {
    let patch = STANDARD.encode(operations.to_string());
    review(asked, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

pub fn rule(operations: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": resources})
}

/// One webhook of a configuration; `more` is merged in.
pub fn hook(name: &str, client: Value, rules: Value, more: Value) -> Value {
    let mut hook = json!({
        "name": name, "clientConfig": client, "rules": rules, "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        hook[key] = value.clone();
    }
    hook
}

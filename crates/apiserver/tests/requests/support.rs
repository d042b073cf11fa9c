//! A whole server on an embedded store, and requests to it.

use apiserver::*;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";

struct Open;

impl Authorizer for Open {
    fn authorize(&self, _: &Attributes) -> Decision {
        Decision::Allow
    }
}

#[async_trait::async_trait]
impl Authenticator for Open {
    /// A token is the name of its user, and `master` is an administrator.
    async fn authenticate(&self, parts: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, meta::ApiError> {
        let token = parts.headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
        Ok(token.map(|name| if name == "master" { User::system(name) } else { User::new(name, &["system:authenticated"]) }))
    }
}

/// Who is let in.
pub enum Access {
    Open,
    /// Whoever proves who he is, to do what he may.
    Secured(auth::certificates::Certificates),
}

impl Access {
    pub fn secured() -> Self {
        Self::Secured(auth::certificates::Certificates::default())
    }
}

/// Removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("requests-{}", uuid::Uuid::new_v4())))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone)]
pub struct Server {
    pub api: ApiServer,
    pub tokens: Arc<auth::tokens::Tokens>,
    pub stop: CancellationToken,
}

pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub warnings: Vec<String>,
}

pub async fn server() -> (Server, Dir) {
    let dir = Dir::new();
    (open(&dir).await, dir)
}

pub async fn open(dir: &Dir) -> Server {
    open_with(dir, Arc::default(), Access::Open).await
}

/// One that asks who it is and whether he may.
pub async fn secured() -> (Server, Dir) {
    let dir = Dir::new();
    (open_with(&dir, Arc::default(), Access::secured()).await, dir)
}

pub async fn open_with(dir: &Dir, aggregator: Arc<aggregation::Aggregator>, access: Access) -> Server {
    build(core(dir).await, 1, aggregator, access, Operations::default(), |_| {}).await
}

pub async fn operated(dir: &Dir, operations: Operations) -> Server {
    handling(dir, operations, |_| {}).await
}

/// With further handlers.
pub async fn handling(dir: &Dir, operations: Operations, register: impl FnOnce(&mut Handlers)) -> Server {
    build(core(dir).await, 1, Arc::default(), Access::Open, operations, register).await
}

/// The `number`th server on a store.
pub async fn serve(store: Arc<dyn store::Store>, encryption: Arc<encryption::Encryption>, number: u8) -> Server {
    let core = Core::open_encrypted(store, encryption).await.unwrap();
    build(core, number, Arc::default(), Access::Open, Operations::default(), |_| {}).await
}

async fn core(dir: &Dir) -> Arc<Core> {
    Core::open(Arc::new(embedded(&dir.0).await)).await.unwrap()
}

async fn build(
    core: Arc<Core>,
    number: u8,
    aggregator: Arc<aggregation::Aggregator>,
    access: Access,
    operations: Operations,
    register: impl FnOnce(&mut Handlers),
) -> Server {
    let stop = CancellationToken::new();
    let mut handlers = Handlers::default();
    discovery::register(&mut handlers);
    openapi::register(&mut handlers);
    register(&mut handlers);
    handlers.on("", "pods", "eviction", Arc::new(eviction::Evictions));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    connect::register(&mut handlers, Arc::new(tls));
    let objects: Arc<dyn Objects> = core.clone();
    let bootstrap = auth::bootstrap_tokens::BootstrapTokens(objects.clone());
    let rbac = auth::rbac::Rbac::start(&*objects);
    let key = auth::tokens::Tokens::generate().unwrap();
    let tokens = auth::tokens::Tokens::new(&[key], "https://issuer", vec!["https://issuer".into()], objects.clone()).unwrap();
    let tokens = Arc::new(tokens);
    tokens.register(&mut handlers);
    reviews::register(&mut handlers, tokens.clone(), bootstrap.clone(), rbac.clone());
    let node = auth::node::NodeAuthorizer::start(objects);
    let secured = matches!(access, Access::Secured(_));
    let (authenticator, authorizer): (Arc<dyn Authenticator>, Arc<dyn Authorizer>) = match access {
        Access::Secured(certificates) => {
            let authenticator = auth::Union::<dyn Authenticator>(vec![Arc::new(certificates), Arc::new(bootstrap), tokens.clone()]);
            (Arc::new(authenticator), Arc::new(auth::Union::<dyn Authorizer>(vec![Arc::new(node), Arc::new(rbac)])))
        }
        Access::Open => (Arc::new(Open), Arc::new(Open)),
    };
    let config = Config {
        core,
        authenticator,
        authorizer,
        handlers,
        aggregator,
        trust: Trust::default(),
        bootstrap: if secured { auth::bootstrap::objects() } else { Vec::new() },
        service_cidr: "10.43.0.0/16".into(),
        node_port_range: 30000..=32767,
        advertise_address: [192, 0, 2, number].into(),
        advertise_port: 6443,
        operations,
        identity: format!("server-{number}"),
        stop: stop.clone(),
    };
    Server { api: ApiServer::start(config).await.unwrap(), tokens, stop }
}

/// The directory is free once everything of the server before has ended.
async fn embedded(path: &Path) -> store::Embedded {
    for _ in 0..200 {
        match store::Embedded::open(path) {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    store::Embedded::open(path).unwrap()
}

impl Server {
    pub async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body::full(body)).unwrap();
        request.extensions_mut().insert(Arc::new(User::system("test")));
        self.api.handle(request).await
    }

    /// As somebody who is not the administrator.
    pub async fn call_as(&self, user: User, method: &str, uri: &str, headers: &[(&str, &str)], body: Value) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(uri).header("content-type", JSON);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body::full(if body.is_null() { String::new() } else { body.to_string() })).unwrap();
        request.extensions_mut().insert(Arc::new(user));
        self.api.handle(request).await
    }

    /// As whoever the headers say.
    pub async fn bare(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let mut request = Request::builder().method(method).uri(uri).header("content-type", JSON);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body::full(if body.is_null() { String::new() } else { body.to_string() })).unwrap();
        read(self.api.handle(request).await).await
    }

    /// What somebody may see whom authorization only learns of in a moment.
    pub async fn permitted(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Value {
        for _ in 0..200 {
            let answer = self.bare(method, uri, headers, Value::Null).await;
            if answer.code != 403 {
                return answer.expect(200);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("nobody may {method} {uri}")
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, uri: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..600 {
            let answer = self.get(uri).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = self.get(uri).await;
        panic!("{uri} stays {} {}", answer.code, answer.body)
    }

    pub async fn send_as(&self, user: &Arc<User>, method: &str, uri: &str, body: Value) -> http::Response<Body> {
        self.call_as((**user).clone(), method, uri, &[], body).await
    }

    pub async fn call(&self, method: &str, uri: &str, content: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(self.send(method, uri, &[("content-type", content)], body).await).await
    }

    /// A body as it stands.
    pub async fn text(&self, method: &str, uri: &str, content: &str, body: String) -> Answer {
        read(self.send(method, uri, &[("content-type", content)], body).await).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.call("GET", uri, JSON, Value::Null).await
    }

    pub async fn get_as(&self, uri: &str, accept: &str) -> Answer {
        read(self.send("GET", uri, &[("accept", accept)], String::new()).await).await
    }

    pub async fn post(&self, uri: &str, body: Value) -> Answer {
        self.call("POST", uri, JSON, body).await
    }

    pub async fn put(&self, uri: &str, body: Value) -> Answer {
        self.call("PUT", uri, JSON, body).await
    }

    pub async fn patch(&self, uri: &str, content: &str, body: Value) -> Answer {
        self.call("PATCH", uri, content, body).await
    }

    pub async fn delete(&self, uri: &str, body: Value) -> Answer {
        self.call("DELETE", uri, JSON, body).await
    }

    pub async fn map(&self, name: &str) -> Value {
        self.post(MAPS, json!({"metadata": {"name": name, "labels": {"n": name}}})).await.expect(201)
    }

    /// Events until `enough` of them.
    pub async fn events(&self, uri: &str, enough: usize) -> Vec<Value> {
        self.events_until(uri, |events| events.len() >= enough).await
    }

    pub async fn events_until(&self, uri: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let answer = self.send("GET", uri, &[], String::new()).await;
        assert_eq!(answer.status(), 200, "{uri}");
        let mut stream = answer.into_body().into_data_stream();
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        while !enough(&events) {
            let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
            let Some(chunk) = next.unwrap_or_else(|_| panic!("{uri}: only {events:?}")) else { break };
            bytes.extend_from_slice(&chunk.unwrap());
            while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = bytes.drain(..=end).collect();
                events.push(serde_json::from_slice(&line).unwrap());
            }
        }
        events
    }

    pub async fn metrics(&self) -> String {
        let answer = self.send("GET", "/metrics", &[], String::new()).await;
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    pub async fn default_account(&self) {
        self.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await.expect(201);
    }
}

pub async fn read(answer: http::Response<Body>) -> Answer {
    let code = answer.status().as_u16();
    let warnings = answer.headers().get_all("warning").iter().map(|w| w.to_str().unwrap().to_string()).collect();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_default(), warnings }
}

impl Answer {
    #[track_caller]
    pub fn expect_code(self, code: u16) {
        self.expect(code);
    }

    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }
}

pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

pub fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

pub fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["type"].as_str().unwrap()).collect()
}

//! Servers behind the server: real ones, over TLS, in this process.

mod authorities;
mod sample;

use crate::support::*;
use apiserver::aggregation::{self, Aggregator};
use apiserver::{Body, User, body};
use authorities::{Authority, authority, leaf, server_config};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const GROUP: &str = "wardle.example.com";
const PATH: &str = "/apis/wardle.example.com/v1alpha1";
const REGISTRATIONS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// A server that lets in only the front proxy; `hangs` never answers.
async fn wardle(proxies: &Authority, own: &Authority, hangs: bool, stop: CancellationToken) -> u16 {
    let config = server_config(proxies, own);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, stop) = (acceptor.clone(), stop.clone());
            tokio::spawn(stop.run_until_cancelled_owned(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(respond(request).await)
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            }));
        }
    }));
    port
}

async fn respond(request: Request<Incoming>) -> Response<Body> {
    let (parts, sent) = request.into_parts();
    let header = |name: &str| parts.headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_string()).collect::<Vec<_>>();
    let path = parts.uri.path().to_string();
    let answer = |value: Value| Response::builder().header("content-type", JSON).body(body::full(value.to_string())).unwrap();
    if path == PATH {
        return answer(json!({"kind": "APIResourceList", "groupVersion": "wardle.example.com/v1alpha1", "resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get", "list"]}]}));
    }
    if path == "/openapi/v3" {
        let url = format!("/openapi/v3{PATH}?hash=1");
        return answer(json!({"paths": {PATH.trim_start_matches('/'): {"serverRelativeURL": url}}}));
    }
    if parts.uri.query() == Some("watch=true") {
        let events =
            futures::stream::iter(1..=2).map(|n| Ok(http_body::Frame::data(Bytes::from(format!("{{\"type\":\"ADDED\",\"n\":{n}}}\n")))));
        use futures::StreamExt;
        // The stream stays open.
        return Response::new(body::wrap(StreamBody::new(events.chain(futures::stream::pending::<Result<_, Infallible>>()))));
    }
    if !path.starts_with(PATH) {
        return Response::builder().status(404).body(body::empty()).unwrap();
    }
    if path.ends_with("/connect") {
        let upgrade = hyper::upgrade::on(Request::from_parts(parts, sent));
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let answer = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        return answer.body(body::empty()).unwrap();
    }
    let sent = sent.collect().await.unwrap().to_bytes();
    answer(json!({"method": parts.method.as_str(), "uri": parts.uri.to_string(), "user": header("x-remote-user"),
        "groups": header("x-remote-group"), "extra": header("x-remote-extra-example.org%2fa"), "authorization": header("authorization"),
        "body": String::from_utf8_lossy(&sent)}))
}

struct Setting {
    server: Server,
    proxies: Authority,
    _dir: Dir,
}

async fn setting() -> Setting {
    let proxies = authority("proxies");
    let identity = leaf(&proxies, &[], ExtendedKeyUsagePurpose::ClientAuth);
    let dir = Dir::new();
    let server = open_with(&dir, Arc::new(Aggregator::new(Some(identity))), Access::Open).await;
    tokio::spawn(aggregation::run(server.api.clone(), server.stop.clone()));
    Setting { server, proxies, _dir: dir }
}

impl Setting {
    async fn register(&self, group: &str, service: &str, port: u16, own: &Authority) {
        use base64::Engine;
        let bundle = base64::engine::general_purpose::STANDARD.encode(&own.pem);
        let object = json!({"metadata": {"name": format!("v1alpha1.{group}")}, "spec": {"group": group, "version": "v1alpha1",
            "groupPriorityMinimum": 2000, "versionPriority": 200, "caBundle": bundle,
            "service": {"namespace": "default", "name": service, "port": port}}});
        self.server.post(REGISTRATIONS, object).await.expect(201);
    }

    async fn service(&self, name: &str) {
        let service = json!({"metadata": {"name": name}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
        self.server.post("/api/v1/namespaces/default/services", service).await.expect(201);
    }

    async fn reason(&self, group: &str, reason: &str) -> Value {
        let is = |a: &Answer| a.body["status"]["conditions"][0]["reason"] == reason;
        self.server.until(&format!("{REGISTRATIONS}/v1alpha1.{group}"), is).await.body["status"]["conditions"][0].clone()
    }
}

#[tokio::test]
async fn an_aggregated_server_answers_for_its_version() {
    let it = setting().await;
    let own = authority("wardle");
    let stop = CancellationToken::new();
    let port = wardle(&it.proxies, &own, false, stop.clone()).await;
    it.register(GROUP, "wardle", port, &own).await;
    let condition = it.reason(GROUP, "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/wardle in \"default\" is not present");
    let refused = it.server.send("GET", &format!("{PATH}/flunders"), &[], "").await;
    assert_eq!((refused.status().as_u16(), refused.into_body().collect().await.unwrap().to_bytes()), (503, "service unavailable\n".into()));
    it.service("wardle").await;
    assert_eq!(it.reason(GROUP, "Passed").await["status"], "True");

    // Who asks is told, and nothing of what he said about himself.
    let mut jane = User::new("jane", &["dev", "system:authenticated"]);
    jane.extra.insert("example.org/a".into(), vec!["1".into()]);
    let headers = [("x-remote-user", "root"), ("authorization", "Bearer x")];
    let uri = format!("{PATH}/namespaces/default/flunders?dryRun=All");
    let answer = read(it.server.call_as(jane, "POST", &uri, &headers, json!({"a": 1})).await).await.expect(200);
    let expected = json!({"method": "POST", "uri": uri, "user": ["jane"], "groups": ["dev", "system:authenticated"], "extra": ["1"],
        "authorization": [], "body": "{\"a\":1}"});
    assert_eq!(answer, expected);
    assert_eq!(it.server.events(&format!("{PATH}/flunders?watch=true"), 2).await[1]["n"], 2);

    // It is found where clients look.
    let list = it.server.get("/apis").await.expect(200);
    assert!(list["groups"].as_array().unwrap().iter().any(|g| g["name"] == GROUP && g["preferredVersion"]["version"] == "v1alpha1"));
    assert_eq!(it.server.get(PATH).await.expect(200)["resources"][0]["name"], "flunders");
    let fresh = it.server.until_aggregated("Current").await;
    assert_eq!(fresh["resources"][0]["resource"], "flunders");

    // It goes away: that is said, and what is known of it is old.
    stop.cancel();
    it.server.post("/api/v1/namespaces/default/services", json!({"metadata": {"name": "other"}, "spec": {"ports": [{"port": 1}]}})).await;
    it.server.patch("/api/v1/namespaces/default/services/wardle", MERGE, json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    let condition = it.reason(GROUP, "FailedDiscoveryCheck").await;
    assert!(condition["message"].as_str().unwrap().contains(PATH), "{condition}");
    assert_eq!(it.server.until_aggregated("Stale").await["resources"][0]["resource"], "flunders");
    assert_eq!(it.server.get(&format!("{PATH}/flunders")).await.code, 503);
    it.server.delete(&format!("{REGISTRATIONS}/v1alpha1.{GROUP}"), Value::Null).await.expect(200);
    it.server.until(PATH, |a| a.code == 404).await;
    it.server.stop.cancel();
}

#[tokio::test]
async fn a_connection_is_handed_over_when_both_sides_agree() {
    let it = setting().await;
    let own = authority("wardle");
    let stop = CancellationToken::new();
    let port = wardle(&it.proxies, &own, false, stop.clone()).await;
    it.service("wardle").await;
    it.register(GROUP, "wardle", port, &own).await;
    it.reason(GROUP, "Passed").await;
    let (near, far) = tokio::io::duplex(1 << 16);
    let api = it.server.api.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::new(User::system("test")));
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.handle(request.map(body::wrap)).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).with_upgrades();
    tokio::spawn(serving);
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(format!("{PATH}/namespaces/default/flunders/a/connect")).header("host", "x");
    let request = request.header("connection", "upgrade").header("upgrade", "echo").body(body::empty()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["upgrade"].as_bytes()), (101, "echo".as_bytes()));
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    stream.write_all(b"there and back").await.unwrap();
    let mut said = [0; 14];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"there and back");
    it.server.stop.cancel();
    stop.cancel();
}

#[tokio::test]
async fn a_server_that_hangs_keeps_nobody_waiting() {
    let it = setting().await;
    let own = authority("wardle");
    let stop = CancellationToken::new();
    let (hangs, works) = (wardle(&it.proxies, &own, true, stop.clone()).await, wardle(&it.proxies, &own, false, stop.clone()).await);
    it.service("wardle").await;
    it.register("hangs.example.com", "wardle", hangs, &own).await;
    it.register(GROUP, "wardle", works, &own).await;
    it.reason(GROUP, "Passed").await;
    it.server.get("/apis").await.expect(200);
    // A stranger's certificate is not taken.
    let stranger = authority("stranger");
    it.register("strange.example.com", "wardle", works, &stranger).await;
    let condition = it.reason("strange.example.com", "FailedDiscoveryCheck").await;
    assert!(condition["message"].as_str().unwrap().contains("certificate"), "{condition}");
    assert_eq!(it.reason("hangs.example.com", "FailedDiscoveryCheck").await["status"], "False");
    it.server.stop.cancel();
    stop.cancel();
}

#[tokio::test]
async fn what_is_served_here_is_registered() {
    let it = setting().await;
    let apps = it.server.until(&format!("{REGISTRATIONS}/v1.apps"), |a| a.code == 200).await.body;
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!((&apps["spec"]["groupPriorityMinimum"], &apps["spec"]["versionPriority"]), (&json!(17800), &json!(15)));
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    it.server.stop.cancel();
}

impl Server {
    async fn until_aggregated(&self, freshness: &str) -> Value {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        for _ in 0..600 {
            let list = self.get_as("/apis", accept).await.expect(200);
            let group = list["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == GROUP).cloned();
            if let Some(version) = group.map(|g| g["versions"][0].clone()).filter(|v| v["freshness"] == freshness) {
                return version;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("never {freshness}")
    }
}

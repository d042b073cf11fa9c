//! Requests through the whole path, between real sockets; only the API is left out.

use super::forward::Forwarder;
use super::routes::{Objects, Table};
use super::table::{Live, Snapshot};
use super::{CONTROLLER, server, tls};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A pod that says its name, what it was asked, and then the request's body.
async fn pod(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-").to_string();
                let seen = json!({
                    "pod": name, "version": format!("{:?}", request.version()), "path": request.uri().path(), "host": header("host"),
                    "authority": request.uri().authority().map(|a| a.to_string()), "for": header("x-forwarded-for"),
                    "proto": header("x-forwarded-proto"), "port": header("x-forwarded-port"), "cookie": header("cookie"), "drop": header("x-drop"),
                });
                let mut response = Response::new(request.into_body());
                response.headers_mut().insert("seen", seen.to_string().parse().unwrap());
                Ok::<_, Infallible>(response)
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { builder.serve_connection(TokioIo::new(stream), service).await.map_err(drop) });
        }
    });
    at
}

/// Everything at `x.test` goes to these pods.
fn snapshot(pods: &[SocketAddr], protocol: Option<&str>) -> Snapshot {
    let parse = |value| serde_json::from_value(value).expect("an object");
    let mut objects = Objects {
        classes: vec![Arc::new(serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": {"controller": CONTROLLER}})).unwrap())],
        ..Objects::default()
    };
    let backend = json!({"service": {"name": "s", "port": {"name": "http"}}});
    objects.ingresses.push(Arc::new(parse(json!({
        "metadata": {"name": "i", "namespace": "n"},
        "spec": {
            "ingressClassName": "c", "tls": [{"hosts": ["x.test"], "secretName": "t"}],
            "rules": [{"host": "x.test", "http": {"paths": [{"pathType": "Prefix", "path": "/", "backend": backend}]}}],
        },
    }))));
    let key = ("n".to_string(), "s".to_string());
    let port = json!({"name": "http", "port": 80, "appProtocol": protocol});
    objects
        .services
        .insert(key.clone(), Arc::new(serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": {"ports": [port]}})).unwrap()));
    let slice = |at: &SocketAddr| {
        let value = json!({
            "metadata": {"name": "s"}, "addressType": "IPv4", "ports": [{"name": "http", "port": at.port()}],
            "endpoints": [{"addresses": [at.ip().to_string()]}],
        });
        Arc::new(serde_json::from_value(value).unwrap())
    };
    objects.slices.insert(key, pods.iter().map(slice).collect());
    Snapshot { complete: true, routes: Table::build(&objects), certificates: HashMap::new() }
}

struct Front {
    at: SocketAddr,
    live: Arc<Live>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn front(snapshot: Snapshot, secure: bool) -> Front {
    let live = Arc::new(Live::new());
    live.set(snapshot);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let acceptor = secure.then(|| tls::acceptor(live.clone()).unwrap());
    let serving = tokio::spawn(server::accept(listener, acceptor, Arc::new(Forwarder::new(live.clone())), stop.clone()));
    Front { at, live, stop, serving }
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn client(at: SocketAddr) -> Sender {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(at).await.unwrap())).await.unwrap();
    tokio::spawn(async move { connection.await.map_err(drop) });
    sender
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "x.test")
}

async fn send(sender: &mut Sender, request: http::request::Builder) -> Response<Bytes> {
    sender.ready().await.unwrap();
    let (parts, body) = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

fn seen<B>(response: &Response<B>) -> serde_json::Value {
    serde_json::from_slice(response.headers()["seen"].as_bytes()).unwrap()
}

#[tokio::test]
async fn a_request_reaches_the_pod_with_what_it_cannot_see_for_itself() {
    let front = front(snapshot(&[pod("a").await], None), false).await;
    let mut sender = client(front.at).await;
    let request = Request::post("/cart?x=1").header("host", "x.test:8080").header("connection", "x-drop").header("x-drop", "1");
    let request = request.header("x-forwarded-for", "192.0.2.1").body(Full::from("the body")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let seen = seen(&response);
    assert_eq!(seen["host"], "x.test:8080");
    assert_eq!((seen["path"].as_str(), seen["drop"].as_str(), seen["proto"].as_str()), (Some("/cart"), Some("-"), Some("http")));
    assert_eq!((&seen["for"], &seen["port"]), (&json!("192.0.2.1, 127.0.0.1"), &json!(front.at.port().to_string())));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "the body");
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let front = front(snapshot(&[], None), false).await;
    let mut sender = client(front.at).await;
    assert_eq!(send(&mut sender, get("/")).await.status(), StatusCode::SERVICE_UNAVAILABLE, "no pod");
    assert_eq!(send(&mut sender, Request::get("/").header("host", "y.test")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(send(&mut sender, Request::get("/")).await.status(), StatusCode::BAD_REQUEST, "no host");
    front.live.set(Snapshot::default());
    assert_eq!(send(&mut sender, get("/")).await.status(), StatusCode::SERVICE_UNAVAILABLE, "nothing is known yet");
}

#[tokio::test]
async fn a_pod_that_cannot_be_reached_is_passed_over() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let front = front(snapshot(&[dead, pod("a").await], None), false).await;
    let mut sender = client(front.at).await;
    for _ in 0..6 {
        assert_eq!(seen(&send(&mut sender, get("/")).await)["pod"], "a");
    }
    front.live.set(snapshot(&[dead], None));
    assert_eq!(send(&mut sender, get("/")).await.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_kept_connection_that_the_pod_gave_up_costs_no_request() {
    // Answers one request on each connection, reads the next, and hangs up on it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                if stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    let front = front(snapshot(&[at], None), false).await;
    let mut sender = client(front.at).await;
    for _ in 0..8 {
        assert_eq!(send(&mut sender, get("/")).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_protocol_switch_joins_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(String::from_utf8_lossy(&head).to_lowercase().contains("upgrade: websocket"));
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: k\r\n\r\n")
            .await
            .unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let front = front(snapshot(&[at], None), false).await;
    let mut stream = TcpStream::connect(front.at).await.unwrap();
    stream
        .write_all(
            b"GET /chat HTTP/1.1\r\nHost: x.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
        )
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: k") && head.contains("upgrade: websocket"), "{head}");
    stream.write_all(b"frames").await.unwrap();
    let mut echoed = [0; 6];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"frames");
}

#[tokio::test]
async fn bodies_flow_in_both_directions_at_once() {
    let front = front(snapshot(&[pod("a").await], None), false).await;
    let mut stream = TcpStream::connect(front.at).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
    let mut got = Vec::new();
    while !got.windows(5).any(|w| w == b"first") {
        got.push(stream.read_u8().await.unwrap());
    }
    // The first part is back before the second is sent.
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    while !got.ends_with(b"0\r\n\r\n") {
        got.push(stream.read_u8().await.unwrap());
    }
    assert!(String::from_utf8_lossy(&got).contains("second"));
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_and_to_pods_that_want_it() {
    let pod = pod("a").await;
    let front = front(snapshot(&[pod], None), false).await;
    let stream = TcpStream::connect(front.at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { connection.await.map_err(drop) });
    let request =
        || Request::get("http://x.test/a").header("cookie", "a=1").header("cookie", "b=2").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request()).await.unwrap();
    let over_http1 = seen(&response);
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(
        (&over_http1["version"], &over_http1["host"], &over_http1["cookie"]),
        (&json!("HTTP/1.1"), &json!("x.test"), &json!("a=1; b=2"))
    );

    front.live.set(snapshot(&[pod], Some("kubernetes.io/h2c")));
    let over_http2 = seen(&sender.send_request(request()).await.unwrap());
    assert_eq!(
        (&over_http2["version"], &over_http2["authority"], &over_http2["host"]),
        (&json!("HTTP/2.0"), &json!("x.test"), &json!("-"))
    );
}

#[tokio::test]
async fn the_certificate_of_the_secret_is_served_and_renewed_while_running() {
    let secret = || {
        let issued = rcgen::generate_simple_self_signed(vec!["x.test".to_string()]).unwrap();
        let data = [("tls.crt", issued.cert.pem()), ("tls.key", issued.signing_key.serialize_pem())];
        let data = data.map(|(name, pem)| (name.to_string(), k8s_openapi::ByteString(pem.into_bytes())));
        (issued.cert.der().clone(), Secret { data: Some(data.into()), ..Secret::default() })
    };
    let pod = pod("a").await;
    let with = |secret: &Secret| {
        let mut snapshot = snapshot(&[pod], None);
        snapshot.certificates.insert(("n".into(), "t".into()), Arc::new(tls::certified_key(secret).unwrap()));
        snapshot
    };
    let (first, object) = secret();
    let front = front(with(&object), true).await;
    let connect = async |trusted: &rustls::pki_types::CertificateDer<'static>, name: &'static str| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(front.at).await.unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
    };
    let stream = connect(&first, "x.test").await.expect("the secret's certificate");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { connection.await.map_err(drop) });
    let response = sender.send_request(Request::get("https://x.test/").body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(seen(&response)["proto"], "https");

    let (second, object) = secret();
    front.live.set(with(&object));
    assert!(connect(&second, "x.test").await.is_ok());
    assert!(connect(&first, "x.test").await.is_err());
    assert!(connect(&second, "y.test").await.is_err(), "another name gets the fallback");
}

#[tokio::test]
async fn no_request_is_lost_while_pods_and_routes_change() {
    let (a, b) = (pod("a").await, pod("b").await);
    let front = front(snapshot(&[a], None), false).await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (at, done) = (front.at, done.clone());
            tokio::spawn(async move {
                let mut sender = client(at).await;
                let mut answered = 0u32;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(send(&mut sender, get("/")).await.status(), StatusCode::OK);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for round in 0..200 {
        front.live.set(snapshot(&[if round % 2 == 0 { b } else { a }], None));
        tokio::task::yield_now().await;
    }
    // However slow the machine: each client has been served at least once.
    let mut last = client(front.at).await;
    send(&mut last, get("/")).await;
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("every answer was OK");
    }
}

#[tokio::test]
async fn a_stop_lets_a_request_under_way_finish() {
    let front = front(snapshot(&[pod("a").await], None), false).await;
    let mut stream = TcpStream::connect(front.at).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 8\r\n\r\nhalf").await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"half") {
        got.push(stream.read_u8().await.unwrap());
    }
    front.stop.cancel();
    stream.write_all(b"more").await.unwrap();
    stream.read_to_end(&mut got).await.unwrap();
    assert!(got.ends_with(b"halfmore"));
    front.serving.await.unwrap();
    assert!(TcpStream::connect(front.at).await.is_err());
}

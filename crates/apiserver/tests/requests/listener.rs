use crate::support::*;
use apiserver::{Body, body, listener};
use arc_swap::ArcSwap;
use http::{Request, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

async fn connect(address: std::net::SocketAddr, root: &rcgen::Certificate, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap()
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("https://localhost{path}")).header("host", "localhost").body(body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_served_and_end_with_the_server() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (s, _dir) = server().await;
    let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let mut tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(listener::serve(s.api.clone(), listener, Arc::new(ArcSwap::from_pointee(tls)), listener::Limits::default()));

    let stream = TokioIo::new(connect(address, &own.cert, b"h2").await);
    let (mut two, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let first = tokio::spawn(connection);
    let answer = two.send_request(request("/version")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    assert_eq!(two.send_request(request(MAPS)).await.unwrap().status(), 401);

    let stream = TokioIo::new(connect(address, &own.cert, b"http/1.1").await);
    let (mut one, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    let second = tokio::spawn(connection);
    let answer = one.send_request(request("/readyz")).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");

    s.stop.cancel();
    let ended = async { (serving.await, first.await, second.await) };
    assert!(tokio::time::timeout(Duration::from_secs(20), ended).await.is_ok());
}

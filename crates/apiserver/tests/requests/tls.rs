//! The server behind a real listener, and connections to it.

use crate::support::{Dir, Server, operated};
use apiserver::{Body, Operations, body, listener};
use arc_swap::ArcSwap;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub const HTTP1: &[u8] = b"http/1.1";
pub const HTTP2: &[u8] = b"h2";
/// Whom the test's authenticator takes for an administrator.
pub const MASTER: &str = "Bearer master";

pub struct Listening {
    pub server: Server,
    pub address: SocketAddr,
    pub tls: listener::Tls,
    pub serving: JoinHandle<()>,
    _dir: Option<Dir>,
}

/// A certificate for `localhost` that signs itself, and a server that shows it.
pub fn certificate() -> (CertificateDer<'static>, rustls::ServerConfig) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let certificate = own.cert.der().clone();
    let mut tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    tls.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    (certificate, tls)
}

pub async fn listen(operations: Operations, limits: listener::Limits) -> (Listening, CertificateDer<'static>) {
    let dir = Dir::new();
    let server = operated(&dir, operations).await;
    listening(server, Some(dir), limits).await
}

/// A server of one's own behind a listener.
pub async fn listening(server: Server, dir: Option<Dir>, limits: listener::Limits) -> (Listening, CertificateDer<'static>) {
    let (certificate, config) = certificate();
    let tls: listener::Tls = Arc::new(ArcSwap::from_pointee(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(listener::serve(server.api.clone(), listener, tls.clone(), limits));
    (Listening { server, address, tls, serving, _dir: dir }, certificate)
}

pub async fn try_connect(address: SocketAddr, root: &CertificateDer<'static>, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

impl Listening {
    pub async fn connect(&self, root: &CertificateDer<'static>, protocol: &[u8]) -> TlsStream<TcpStream> {
        try_connect(self.address, root, protocol).await.unwrap()
    }

    pub async fn http1(&self, root: &CertificateDer<'static>) -> (http1::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
        let (send, connection) = http1::handshake(TokioIo::new(self.connect(root, HTTP1).await)).await.unwrap();
        (send, tokio::spawn(connection))
    }

    pub async fn http2(&self, root: &CertificateDer<'static>) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
        let stream = TokioIo::new(self.connect(root, HTTP2).await);
        let (send, connection) = http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).handshake(stream).await.unwrap();
        (send, tokio::spawn(connection))
    }
}

pub fn request(method: &str, path: &str, content: impl Into<bytes::Bytes>) -> Request<Body> {
    let request = Request::builder().method(method).uri(format!("https://localhost{path}")).header("host", "localhost");
    request.header("authorization", MASTER).header("content-type", "application/json").body(body::full(content)).unwrap()
}

pub async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned()
}

pub async fn status(answer: Response<Incoming>) -> serde_json::Value {
    serde_json::from_str(&text(answer).await).unwrap_or_default()
}

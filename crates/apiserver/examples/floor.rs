//! The floor under the API server's figures: TLS, HTTP/2 and the kernel, and a handler that does next to
//! nothing. It keeps what is posted and gives it back; a load generator takes it for an API server. Prints
//! a kubeconfig: `cargo run --release -p apiserver --example floor 6999 > floor.kubeconfig`.

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Default)]
struct Kept {
    /// By path.
    objects: HashMap<String, Bytes>,
    /// The list of each collection, until something is posted to it.
    lists: HashMap<String, Bytes>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port: u16 = std::env::args().nth(1).unwrap_or_else(|| "6999".into()).parse()?;
    let key = rcgen::generate_simple_self_signed(["localhost".to_string()])?;
    let chain = vec![key.cert.der().clone()];
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut tls = builder.with_no_client_auth().with_single_cert(chain, secret)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    println!(
        "{{current-context: floor, clusters: [{{name: floor, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}], \
         contexts: [{{name: floor, context: {{cluster: floor, user: floor}}}}], users: [{{name: floor, user: {{}}}}]}}"
    );
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let kept = Arc::new(RwLock::new(Kept::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, kept) = (acceptor.clone(), kept.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let kept = kept.clone();
                async move { Ok::<_, Infallible>(answer(&kept, request).await) }
            });
            // A connection that ends in an error has ended all the same.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(kept: &RwLock<Kept>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_string();
    let (status, body) = if request.method() == Method::POST {
        let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let object: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = object.pointer("/metadata/name").and_then(|n| n.as_str()).unwrap_or_default();
        let mut kept = kept.write();
        kept.lists.remove(&path);
        kept.objects.insert(format!("{path}/{name}"), body.clone());
        (StatusCode::CREATED, body)
    } else {
        let known = kept.read().objects.get(&path).cloned();
        (StatusCode::OK, known.unwrap_or_else(|| list(kept, &path)))
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn list(kept: &RwLock<Kept>, path: &str) -> Bytes {
    if let Some(list) = kept.read().lists.get(path) {
        return list.clone();
    }
    let mut kept = kept.write();
    let mut list = BytesMut::from(&b"{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":["[..]);
    let prefix = format!("{path}/");
    let below = kept.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && !key[prefix.len()..].contains('/'));
    for (i, (_, object)) in below.enumerate() {
        list.extend_from_slice(if i > 0 { b"," } else { b"" });
        list.extend_from_slice(object);
    }
    list.extend_from_slice(b"]}\n");
    let list = list.freeze();
    kept.lists.insert(path.to_string(), list.clone());
    list
}

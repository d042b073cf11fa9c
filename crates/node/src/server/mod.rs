//! The kubelet API: what the API server asks of this node. Logs are read here; streams are the
//! runtime's, and are only passed on.

mod access;
mod containers;
mod follow;
mod logs;
mod metrics;
mod query;
mod spdy;
mod stats;
mod streams;
mod websocket;

use self::streams::Wanted;

use crate::cri::Runtime;
use crate::pods::Pods;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use query::{Query, segments};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// An answer other than success, as plain text.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }

    fn not_found(text: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, text.into())
    }

    fn internal(error: impl std::fmt::Display) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    node: String,
    runtime: Arc<dyn Runtime>,
    pods: Arc<dyn Pods>,
}

impl Server {
    pub fn new(node: &str, runtime: Arc<dyn Runtime>, pods: Arc<dyn Pods>) -> Self {
        Self { inner: Arc::new(Inner { node: node.to_string(), runtime, pods }) }
    }

    /// Accepts until `stop`. `tls` must demand a client certificate and verify it against the cluster's
    /// client CA; whose certificate it is, is looked at here.
    pub async fn serve(self, listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) {
        let acceptor = TlsAcceptor::from(tls);
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(self.clone(), acceptor.clone(), stream, stop.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: give others time to close theirs.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        connections.close();
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::debug!(left = connections.len(), "connections were cut");
        }
    }

    async fn answer(&self, request: Request<Incoming>, allowed: bool) -> Response<Body> {
        if !allowed {
            return text(StatusCode::UNAUTHORIZED, "Unauthorized".into());
        }
        match self.route(request).await {
            Ok(response) => response,
            Err(Refusal(code, why)) => text(code, why),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let query = Query::of(request.uri());
        let path = segments(request.uri().path());
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match path.as_slice() {
            ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => Ok(text(StatusCode::OK, "ok".into())),
            ["pods"] if get => {
                Ok(json_answer(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self.inner.pods.list()})))
            }
            ["stats", "summary"] if get => stats::summary(&self.inner).await.map(|s| json_answer(&s)),
            ["metrics"] if get => metrics::own(&self.inner).map(exposition),
            ["metrics", "resource"] if get => metrics::resource(&self.inner).await.map(exposition),
            ["containerLogs", namespace, pod, container] if get => logs::answer(&self.inner, namespace, pod, container, &query).await,
            ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
                let wanted = Wanted::of(&query)?;
                let url = streams::exec(&self.inner, namespace, pod, container, &query, &wanted).await?;
                streams::session(&url, request, Some(wanted)).await
            }
            ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
                let wanted = Wanted::of(&query)?;
                let url = streams::attach(&self.inner, namespace, pod, container, &wanted).await?;
                streams::session(&url, request, Some(wanted)).await
            }
            ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
                let url = streams::port_forward(&self.inner, namespace, pod, &query).await?;
                streams::session(&url, request, None).await
            }
            _ => Err(Refusal::not_found("404 page not found\n")),
        }
    }
}

async fn connection(server: Server, acceptor: TlsAcceptor, stream: TcpStream, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|c| c.to_vec());
    let service = service_fn(move |request: Request<Incoming>| {
        let server = server.clone();
        let allowed = certificate.as_deref().is_some_and(access::allowed);
        async move { Ok::<_, Infallible>(server.answer(request, allowed).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error, "a connection ended");
    }
}

fn wrap<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

fn answer(code: StatusCode, body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    answer(code, wrap(Full::new(Bytes::from(text))), "text/plain; charset=utf-8")
}

fn exposition(text: String) -> Response<Body> {
    answer(StatusCode::OK, wrap(Full::new(Bytes::from(text))), "text/plain; version=0.0.4; charset=utf-8")
}

fn json_answer(value: &serde_json::Value) -> Response<Body> {
    answer(StatusCode::OK, wrap(Full::new(Bytes::from(value.to_string()))), "application/json")
}

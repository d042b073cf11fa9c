//! One request's way to a pod and back: route, pick an endpoint, send, stream the answer. An endpoint
//! that cannot be reached, or whose kept connection turns out closed before the request was sent, is
//! passed over for the next; a request that may have been seen by a pod is never sent twice.

use super::pool::Pool;
use super::routes::Backend;
use super::table::Live;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Headers that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

pub struct Forwarder {
    table: Arc<Live>,
    pool: Arc<Pool>,
}

/// Where a request came from, as the forwarded headers tell it.
#[derive(Clone, Copy)]
pub struct Origin {
    pub peer: IpAddr,
    /// Ours, that it came to.
    pub port: u16,
    pub secure: bool,
}

impl Forwarder {
    pub fn new(table: Arc<Live>) -> Self {
        Self { table, pool: Arc::default() }
    }

    pub fn keep_only(&self, endpoints: &HashSet<SocketAddr>) {
        self.pool.keep_only(endpoints);
    }

    pub async fn handle(&self, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        let authority = request.uri().authority().cloned().or_else(|| host_header(request.headers()));
        let Some(host) = authority.as_ref().map(|a| a.host().trim_end_matches('.').to_string()) else {
            return plain(StatusCode::BAD_REQUEST, "the request names no host\n");
        };
        let table = self.table.get();
        let Some(backend) = table.routes.route(&host, request.uri().path()) else {
            if !table.complete {
                return plain(StatusCode::SERVICE_UNAVAILABLE, "the ingress has just started and does not know its routes yet\n");
            }
            return plain(StatusCode::NOT_FOUND, "no Ingress has a rule for this host and path\n");
        };
        if backend.endpoints.is_empty() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "no pod is ready behind this service\n");
        }
        match self.send(request, &backend, origin, &host).await {
            Ok(response) => response,
            Err(Failure::Unreachable) => plain(StatusCode::BAD_GATEWAY, "no pod behind this service could be reached\n"),
            Err(Failure::Broken(error)) => {
                tracing::debug!(%error, host, "a pod broke off");
                plain(StatusCode::BAD_GATEWAY, "the pod closed the connection before it answered\n")
            }
        }
    }

    async fn send(&self, mut request: Request<Incoming>, backend: &Backend, origin: Origin, host: &str) -> Result<Response<Body>, Failure> {
        let upgrade = upgrade_of(&request);
        let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let mut outgoing = prepare(request, upgrade.clone(), origin, host, backend.h2c)?;
        let repeat = Repeat::of(&outgoing);
        for to in backend.turn() {
            if backend.h2c {
                let Ok(mut sender) = self.pool.connect_h2(to).await else { continue };
                match sender.try_send_request(outgoing).await {
                    Ok(response) => return Ok(finish(response)),
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => outgoing = unsent,
                        None => return Err(Failure::Broken(error.into_error())),
                    },
                }
                continue;
            }
            // A kept connection may have been closed by the pod meanwhile; then a fresh one is tried.
            let mut kept = self.pool.take(to);
            loop {
                let was_kept = kept.is_some();
                let mut sender = match kept.take() {
                    Some(sender) => sender,
                    None => match self.pool.connect(to).await {
                        Ok(sender) => sender,
                        Err(_) => break,
                    },
                };
                match sender.try_send_request(outgoing).await {
                    Ok(response) => {
                        if let (StatusCode::SWITCHING_PROTOCOLS, Some(client_side)) = (response.status(), client_side) {
                            return Ok(switch(response, client_side, upgrade));
                        }
                        self.pool.give_back(to, sender);
                        return Ok(finish(response));
                    }
                    Err(mut error) => match (error.take_message(), &repeat) {
                        (Some(unsent), _) => outgoing = unsent,
                        // Closed by the pod while the request was on its way: that may be the end of its
                        // patience with an idle connection and no answer to this request.
                        (None, Some(repeat)) if was_kept => outgoing = repeat.request(),
                        (None, _) => return Err(Failure::Broken(error.into_error())),
                    },
                }
                if !was_kept {
                    break;
                }
            }
        }
        Err(Failure::Unreachable)
    }
}

/// A request that may be sent again though a pod may have seen it: one without effects and without a body.
struct Repeat(http::request::Parts);

impl Repeat {
    fn of(request: &Request<Body>) -> Option<Self> {
        let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !harmless || !request.body().is_end_stream() || request.headers().contains_key(header::UPGRADE) {
            return None;
        }
        let mut copy = Request::new(());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        Some(Self(copy.into_parts().0))
    }

    fn request(&self) -> Request<Body> {
        Request::from_parts(self.0.clone(), Empty::new().map_err(|never| match never {}).boxed_unsync())
    }
}

enum Failure {
    Unreachable,
    Broken(hyper::Error),
}

/// The request as the pod gets it.
fn prepare(
    request: Request<Incoming>,
    upgrade: Option<HeaderValue>,
    origin: Origin,
    host: &str,
    h2c: bool,
) -> Result<Request<Body>, Failure> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned();
    drop_hop_by_hop(&mut parts.headers);
    if let Some(protocol) = upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    } else {
        parts.headers.remove(header::UPGRADE);
    }
    // HTTP/2 names the host in the URI; HTTP/1.1 in the header.
    let authority = authority.or_else(|| host_header(&parts.headers));
    match &authority {
        _ if h2c => drop(parts.headers.remove(header::HOST)),
        Some(authority) => {
            if let Ok(value) = HeaderValue::from_str(authority.as_str()) {
                parts.headers.insert(header::HOST, value);
            }
        }
        None => {}
    }
    if !h2c {
        join_cookies(&mut parts.headers);
    }
    forwarded(&mut parts.headers, origin, host);
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    let mut uri = Uri::builder();
    if h2c {
        uri = uri.scheme("http").authority(authority.as_ref().map_or(host, Authority::as_str));
    }
    parts.uri = uri.path_and_query(path).build().map_err(|_| Failure::Unreachable)?;
    parts.version = if h2c { Version::HTTP_2 } else { Version::HTTP_11 };
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body.boxed_unsync()))
}

/// What a pod cannot see for itself. A chain of proxies is kept, what a client claims about itself is not.
fn forwarded(headers: &mut HeaderMap, origin: Origin, host: &str) {
    let peer = origin.peer.to_string();
    let chain = match headers.get("x-forwarded-for").and_then(|v| v.to_str().ok()) {
        Some(before) => format!("{before}, {peer}"),
        None => peer.clone(),
    };
    for (name, value) in [
        ("x-forwarded-for", chain.as_str()),
        ("x-real-ip", peer.as_str()),
        ("x-forwarded-host", host),
        ("x-forwarded-port", origin.port.to_string().as_str()),
        ("x-forwarded-proto", if origin.secure { "https" } else { "http" }),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if !headers.contains_key("x-request-id")
        && let Ok(value) = HeaderValue::from_str(&format!("{:032x}", rand::random::<u128>()))
    {
        headers.insert("x-request-id", value);
    }
}

/// HTTP/2 may split cookies into fields; over HTTP/1.1 they must be one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| *name != header::UPGRADE)
        .collect();
    // gRPC needs this one to pass.
    let trailers = headers.get(header::TE).is_some_and(|te| te == "trailers");
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn upgrade_of(request: &Request<Incoming>) -> Option<HeaderValue> {
    let wanted = request.headers().get(header::CONNECTION)?.to_str().ok()?;
    if !wanted.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    request.headers().get(header::UPGRADE).cloned()
}

fn finish(response: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    drop_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::UPGRADE);
    // The front connection says its own version.
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, body.boxed_unsync())
}

/// Joins both sides of a switched protocol (WebSocket) until one ends.
fn switch(mut response: Response<Incoming>, client_side: hyper::upgrade::OnUpgrade, protocol: Option<HeaderValue>) -> Response<Body> {
    let pod_side = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let (Ok(client_side), Ok(pod_side)) = tokio::join!(client_side, pod_side) else { return };
        let (mut client_side, mut pod_side) = (TokioIo::new(client_side), TokioIo::new(pod_side));
        // Either side may break off; both are then closed.
        let _ = tokio::io::copy_bidirectional(&mut client_side, &mut pod_side).await;
    });
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.entry(header::UPGRADE).or_insert(protocol);
    }
    Response::from_parts(parts, Empty::new().map_err(|never| match never {}).boxed_unsync())
}

fn host_header(headers: &HeaderMap) -> Option<Authority> {
    headers.get(header::HOST)?.to_str().ok()?.parse().ok()
}

pub fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

//! Sessions with containers. The runtime's streaming server speaks the protocols (SPDY, the older ones of
//! WebSocket); from the moment it agrees, bytes are passed both ways unread. What it does not speak is
//! translated (`websocket`).

use super::query::Query;
use super::websocket::{self, Offer};
use super::{Body, Inner, Refusal, containers, wrap};
use crate::cri::RuntimeError;
use crate::cri::api::{AttachRequest, ExecRequest};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// The runtime is on the same machine.
const CONNECT: Duration = Duration::from_secs(10);

/// What of the container's standard streams a session has.
pub struct Wanted {
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

impl Wanted {
    /// As the kubelet API spells them; the names of the public API are understood too.
    pub fn of(query: &Query) -> Result<Self, Refusal> {
        let tty = query.flag("tty");
        let wanted = Self {
            tty,
            stdin: query.flag("input") || query.flag("stdin"),
            stdout: query.flag("output") || query.flag("stdout"),
            // A terminal has one output.
            stderr: !tty && (query.flag("error") || query.flag("stderr")),
        };
        if !wanted.stdin && !wanted.stdout && !wanted.stderr {
            return Err(Refusal::bad("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(wanted)
    }
}

pub async fn exec(inner: &Inner, namespace: &str, pod: &str, container: &str, query: &Query, wanted: &Wanted) -> Result<String, Refusal> {
    let pod = containers::pod(&*inner.pods, namespace, pod)?;
    let id = containers::running(inner, &pod, container)?.id;
    let cmd = query.all("command").map(str::to_string).collect();
    let request = ExecRequest { container_id: id, cmd, tty: wanted.tty, stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr };
    inner.runtime.exec(request).await.map_err(|e| refusal(e, container))
}

pub async fn attach(inner: &Inner, namespace: &str, pod: &str, container: &str, wanted: &Wanted) -> Result<String, Refusal> {
    let pod = containers::pod(&*inner.pods, namespace, pod)?;
    let id = containers::running(inner, &pod, container)?.id;
    let request = AttachRequest { container_id: id, tty: wanted.tty, stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr };
    inner.runtime.attach(request).await.map_err(|e| refusal(e, container))
}

pub async fn port_forward(inner: &Inner, namespace: &str, name: &str, query: &Query) -> Result<String, Refusal> {
    let pod = containers::pod(&*inner.pods, namespace, name)?;
    let parse = |text: &str| text.trim().parse::<u16>().ok().filter(|p| *p > 0).map(i32::from);
    let texts = ["port", "ports"].into_iter().flat_map(|n| query.all(n)).flat_map(|v| v.split(',')).filter(|t| !t.is_empty());
    let ports = texts.map(|t| parse(t).ok_or_else(|| Refusal::bad(format!("invalid port {t:?}")))).collect::<Result<Vec<_>, _>>()?;
    let sandbox = inner.pods.sandbox(containers::uid(&pod));
    let sandbox = sandbox.ok_or_else(|| Refusal::internal(format!("failed to find sandbox of pod {name:?} in namespace {namespace:?}")))?;
    inner.runtime.port_forward(&sandbox, ports).await.map_err(Refusal::internal)
}

fn refusal(error: RuntimeError, container: &str) -> Refusal {
    match error {
        RuntimeError::NotFound(_) => Refusal::internal(format!("container not found ({container:?})")),
        other => Refusal::internal(other),
    }
}

/// Leads the session of `request` to the runtime's `url`.
pub async fn session(url: &str, request: Request<Incoming>, wanted: Option<Wanted>) -> Result<Response<Body>, Refusal> {
    match Offer::of(request.headers()) {
        Some(offer) => websocket::serve(url, request, offer, wanted).await,
        None => relay(url, request).await,
    }
}

/// Sends `request` on to `url` and joins the two connections if the other side switches protocols.
async fn relay(url: &str, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(Refusal::bad("unable to upgrade: missing upgrade headers in request"));
    }
    let mut headers = request.headers().clone();
    for name in [header::AUTHORIZATION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let mut response = ask(url, request.method().clone(), request.uri().query(), headers).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refused(response));
    }
    let (near, far) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut response));
    tokio::spawn(async move {
        let (Ok(near), Ok(far)) = tokio::join!(near, far) else { return };
        let joined = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await;
        tracing::trace!(?joined, "a session ended");
    });
    Ok(response.map(|_| wrap(Empty::new())))
}

/// Asks the runtime's streaming server to switch protocols.
pub async fn ask(url: &str, method: Method, query: Option<&str>, headers: HeaderMap) -> Result<Response<Incoming>, Refusal> {
    let target: Uri = url.parse().map_err(|_| Refusal::internal(format!("the runtime gave an unusable address: {url:?}")))?;
    let authority = target.authority().ok_or_else(|| Refusal::internal("the runtime gave an address without a host"))?.clone();
    let address = (authority.host().trim_matches(['[', ']']).to_string(), authority.port_u16().unwrap_or(80));
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect((address.0.as_str(), address.1))).await;
    let stream = stream.map_err(Refusal::internal)?.map_err(|e| Refusal(StatusCode::BAD_GATEWAY, format!("error dialing backend: {e}")))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Refusal::internal)?;
    tokio::spawn(connection.with_upgrades());
    let mut outgoing = Request::new(Empty::<bytes::Bytes>::new());
    *outgoing.method_mut() = method;
    // Ports of the old WebSocket form of port forwarding are in the query, which the runtime's address lacks.
    *outgoing.uri_mut() = with_query(&target, query);
    *outgoing.headers_mut() = headers;
    outgoing.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(Refusal::internal)?);
    sender.send_request(outgoing).await.map_err(|e| Refusal(StatusCode::BAD_GATEWAY, e.to_string()))
}

/// The runtime's refusal as this API's own.
pub fn refused(mut response: Response<Incoming>) -> Response<Body> {
    // These speak of the runtime's connection only.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        response.headers_mut().remove(name);
    }
    response.map(wrap)
}

fn with_query(target: &Uri, query: Option<&str>) -> Uri {
    let path = target.path();
    let joined = match (target.query(), query) {
        (Some(own), _) => format!("{path}?{own}"),
        (None, Some(query)) => format!("{path}?{query}"),
        (None, None) => path.to_string(),
    };
    joined.parse::<PathAndQuery>().map_or_else(|_| Uri::from_static("/"), Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A runtime that answers `head` and then echoes; and this API in front of it.
    async fn through(head: &'static str) -> TcpStream {
        let runtime = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/exec/token", runtime.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = runtime.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request).unwrap();
            assert!(
                request.starts_with("POST /exec/token?command=sh HTTP/1.1\r\n") && request.to_lowercase().contains("upgrade: spdy/3.1"),
                "{request}"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            if head.starts_with("HTTP/1.1 101") {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            }
        });
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = api.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = api.accept().await.unwrap();
            let service = service_fn(move |request| {
                let url = url.clone();
                async move { session(&url, request, None).await.map_err(|Refusal(_, why)| std::io::Error::other(why)) }
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = "POST /exec/n/p/c?command=sh HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        client
    }

    #[tokio::test]
    async fn an_upgraded_connection_carries_bytes_both_ways() {
        let mut client = through("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            client.read_buf(&mut head).await.unwrap();
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101") && head.contains("x-stream-protocol-version: v4.channel.k8s.io"), "{head}");
        client.write_all(b"\x80\x03hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut echoed = Vec::new();
        client.read_to_end(&mut echoed).await.unwrap();
        assert_eq!(echoed, b"\x80\x03hello");
    }

    #[tokio::test]
    async fn what_the_runtime_refuses_is_refused() {
        let mut client = through("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 403");
    }
}

//! Connections from the server to kubelets, pods and services: one per request, HTTP/1.1, so that any of them
//! can be handed over to the client when both sides agree to switch protocols.

use crate::body::{self, Body};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECT: Duration = Duration::from_secs(30);

/// Whom to ask.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    /// None: in the clear.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Target {
    /// `host:port`, as `Host` headers and URLs have it.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn dial(target: &Target, name: &str) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    let _ = stream.set_nodelay(true);
    let Some(tls) = &target.tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(name.to_string()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("dial tcp {0}: {1}")]
    Dial(String, io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// The target's answer; its connection lives as long as the answer's body or the upgraded stream.
pub async fn send(target: &Target, request: Request<Body>) -> Result<Response<hyper::body::Incoming>, SendError> {
    send_named(target, &target.host, request).await
}

/// The same, where the target's certificate is for another name than its address.
pub async fn send_named(target: &Target, name: &str, request: Request<Body>) -> Result<Response<hyper::body::Incoming>, SendError> {
    let dialed = tokio::time::timeout(CONNECT, dial(target, name)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = dialed.map_err(|e| SendError::Dial(target.authority(), e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

pub fn upgrades(headers: &HeaderMap) -> bool {
    let names = |v: &http::HeaderValue| v.to_str().is_ok_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade")));
    headers.contains_key(header::UPGRADE) && headers.get_all(header::CONNECTION).iter().any(names)
}

/// What belongs to one connection, and who asks: none of it is for the other side.
pub fn strip(headers: &mut HeaderMap, upgrading: bool) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::HOST);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    headers.remove(header::TE);
    headers.remove(header::TRAILER);
    if !upgrading {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }
    let personal: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().starts_with("impersonate-")).cloned().collect();
    personal.into_iter().for_each(|n| drop(headers.remove(n)));
}

/// Browsers tell their token as one of the protocols they offer.
pub fn strip_token(headers: &mut HeaderMap) {
    const TOKEN: &str = "base64url.bearer.authorization.k8s.io.";
    let offered: Vec<String> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|p| p.trim().to_string())
        .collect();
    if !offered.iter().any(|p| p.starts_with(TOKEN)) {
        return;
    }
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let kept: Vec<String> = offered.into_iter().filter(|p| !p.starts_with(TOKEN)).collect();
    if let Ok(value) = kept.join(", ").parse::<http::HeaderValue>().map_err(drop).and_then(|v| if v.is_empty() { Err(()) } else { Ok(v) }) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
}

/// The answer for the client; if it switches protocols, bytes go both ways unread from then on.
pub fn hand_over(client: Option<hyper::upgrade::OnUpgrade>, mut response: Response<hyper::body::Incoming>) -> Response<Body> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let mut response = response.map(body::wrap);
        let headers = response.headers_mut();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
            headers.remove(name);
        }
        headers.remove("keep-alive");
        return response;
    }
    let far = hyper::upgrade::on(&mut response);
    if let Some(near) = client {
        tokio::spawn(async move {
            let (Ok(near), Ok(far)) = tokio::join!(near, far) else { return };
            let joined = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await;
            tracing::trace!(?joined, "a session ended");
        });
    }
    response.map(|_| body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_caller_is_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "jane"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.abc, v4.channel.k8s.io"),
            ("x-own", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        assert!(upgrades(&headers));
        strip(&mut headers, true);
        strip_token(&mut headers);
        assert_eq!(headers["sec-websocket-protocol"], "v4.channel.k8s.io");
        assert_eq!(headers.len(), 4);
        strip(&mut headers, false);
        assert!(!upgrades(&headers) && headers.contains_key("x-own"));
    }
}

//! What is read over a WebSocket where the client asks for one: each piece is a message of its own.

use crate::body::{self, Body};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use meta::ApiError;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

const BINARY: &str = "binary.k8s.io";
/// How long a client may take to say that it closes too.
const FAREWELL: Duration = Duration::from_secs(5);
const BASE64: &str = "base64.binary.k8s.io";

/// A client that wants to read over a WebSocket.
pub struct Reader {
    near: OnUpgrade,
    accept: String,
    protocol: Option<&'static str>,
}

impl Reader {
    /// None where the client asks for a plain answer.
    pub fn of(headers: &HeaderMap, near: Option<OnUpgrade>) -> Result<Option<Self>, ApiError> {
        let is = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"websocket");
        let Some(near) = near.filter(|_| super::client::upgrades(headers) && headers.get(header::UPGRADE).is_some_and(is)) else {
            return Ok(None);
        };
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
            return Err(ApiError::bad_request("missing or bad WebSocket Version"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|k| !k.is_empty());
        let key = key.ok_or_else(|| ApiError::bad_request("missing or bad WebSocket-Key"))?;
        Ok(Some(Self { near, accept: derive_accept_key(key.as_bytes()), protocol: protocol(headers)? }))
    }

    /// Sends `body` once the connection has changed its protocol.
    pub fn answer(self, body: Body) -> Result<Response<Body>, ApiError> {
        let mut response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::UPGRADE, "websocket")
            .header(header::CONNECTION, "Upgrade")
            .header(header::SEC_WEBSOCKET_ACCEPT, &self.accept);
        if let Some(protocol) = self.protocol {
            response = response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let text = self.protocol == Some(BASE64);
        tokio::spawn(async move {
            if let Ok(upgraded) = self.near.await {
                let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                let ended = send(socket, body, text).await;
                tracing::trace!(?ended, "a WebSocket ended");
            }
        });
        response.body(body::empty()).map_err(ApiError::internal)
    }
}

/// The first that is offered and known; a client that offers none gets bytes as they are.
fn protocol(headers: &HeaderMap) -> Result<Option<&'static str>, ApiError> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let offered: Vec<&str> = offered.map(str::trim).filter(|p| !p.is_empty()).collect();
    let known = offered.iter().find_map(|p| [BINARY, BASE64].into_iter().find(|k| k == p));
    if known.is_none() && !offered.is_empty() {
        return Err(ApiError::bad_request(format!("requested protocol(s) are not supported: {offered:?}; supports [{BINARY} {BASE64}]")));
    }
    Ok(known)
}

async fn send<S>(socket: WebSocketStream<S>, mut body: Body, text: bool) -> Result<(), body::BoxError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let message = |bytes: &[u8]| match text {
        true => Message::text(BASE64_STANDARD.encode(bytes)),
        false => Message::binary(bytes.to_vec()),
    };
    let (mut out, mut back) = socket.split();
    // Tells the client at once that it is connected, long before there may be something to read.
    out.send(message(&[])).await?;
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        out.send(message(&data)).await?;
                    }
                }
                None => break,
            },
            // A client has nothing to say but that it goes.
            said = back.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    out.close().await?;
    // The client's own farewell; a connection that goes before it looks broken to the client.
    let farewell = async { while let Some(Ok(_)) = back.next().await {} };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_read_comes_as_messages_and_then_the_end() {
        let (near, far) = tokio::io::duplex(4096);
        let server = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        let client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let sent = tokio::spawn(send(server, body::full("a line\n"), true));
        let come: Vec<Message> = client.map(Result::unwrap).collect().await;
        sent.await.unwrap().unwrap();
        assert_eq!(come, [Message::text(""), Message::text("YSBsaW5lCg=="), Message::Close(None)]);
    }

    #[test]
    fn the_first_known_protocol_is_spoken() {
        let of = |offered: &'static str| {
            let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered))]);
            protocol(&headers).map_err(|e| e.code)
        };
        assert_eq!(of("v9.channel.k8s.io, base64.binary.k8s.io, binary.k8s.io"), Ok(Some(BASE64)));
        assert_eq!(of("v9.channel.k8s.io"), Err(400));
        assert_eq!(protocol(&HeaderMap::new()).unwrap(), None);
    }
}

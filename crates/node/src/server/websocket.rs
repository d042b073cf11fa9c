//! WebSocket sessions that the runtime's streaming server does not speak: `v5.channel.k8s.io`, in which a
//! client can close one stream (KEP-4006), and port forwarding as SPDY in a tunnel (KEP-4006 too). Both are
//! led over a SPDY connection to the runtime.

use super::spdy::{self, Frame, Opener};
use super::streams::{self, Wanted};
use super::{Body, Refusal, wrap};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

const V5: &str = "v5.channel.k8s.io";
const TUNNEL: &str = "SPDY/3.1+";
/// The channel whose messages name a stream that the client closes.
const CLOSE: u8 = 255;
/// By channel number; an error stream is part of every session.
const STREAMS: [&str; 5] = ["stdin", "stdout", "stderr", "error", "resize"];
const ERROR: u8 = 3;
const PIECE: usize = 32 << 10;

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Far = TokioIo<Upgraded>;

/// What a client offers that has to be led over SPDY.
pub enum Offer {
    Channels,
    /// The protocol inside the tunnel.
    Tunnel(String),
}

impl Offer {
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        if !headers.get(UPGRADE).is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return None;
        }
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
        offered.flat_map(|list| list.split(',')).map(str::trim).find_map(|protocol| match protocol.strip_prefix(TUNNEL) {
            Some(inner) => Some(Self::Tunnel(inner.to_string())),
            None => (protocol == V5).then_some(Self::Channels),
        })
    }
}

/// Serves the session over the runtime's `url`. `wanted` are the streams of an exec or attach.
pub async fn serve(url: &str, mut request: Request<Incoming>, offer: Offer, wanted: Option<Wanted>) -> Result<Response<Body>, Refusal> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).ok_or_else(|| Refusal::bad("websocket: not a websocket handshake"))?.clone();
    let (inner, chosen) = match &offer {
        Offer::Channels => ("v4.channel.k8s.io", V5.to_string()),
        Offer::Tunnel(inner) => (inner.as_str(), format!("{TUNNEL}{inner}")),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    let protocol = HeaderValue::from_str(inner).map_err(|_| Refusal::bad("the WebSocket protocol is not text"))?;
    headers.insert("x-stream-protocol-version", protocol);
    let mut answer = streams::ask(url, Method::POST, request.uri().query(), headers).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(streams::refused(answer));
    }
    let (near, far) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
    tokio::spawn(async move {
        let (Ok(near), Ok(far)) = tokio::join!(near, far) else { return };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(near), Role::Server, None).await;
        let ended = match (offer, wanted) {
            (Offer::Channels, Some(wanted)) => channels(socket, TokioIo::new(far), &wanted).await,
            _ => tunnel(socket, TokioIo::new(far)).await,
        };
        tracing::trace!(?ended, "a session ended");
    });
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(Refusal::internal)?;
    let mut response = Response::new(wrap(Empty::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(&chosen).map_err(Refusal::internal)?);
    Ok(response)
}

/// Clients take any other end for a failure.
fn normal() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }))
}

async fn tunnel(socket: Socket, far: Far) -> io::Result<()> {
    let (mut out, mut incoming) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(far);
    let up = async {
        while let Some(Ok(message)) = incoming.next().await {
            match message {
                Message::Binary(bytes) => writer.write_all(&bytes).await?,
                Message::Close(_) => break,
                _ => {}
            }
        }
        writer.shutdown().await
    };
    let down = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            if reader.read_buf(&mut buffer).await? == 0 {
                break;
            }
            out.send(Message::Binary(buffer.split().freeze())).await.map_err(io::Error::other)?;
        }
        out.send(normal()).await.map_err(io::Error::other)
    };
    // Either side's end is the end of both.
    tokio::select! { ended = up => ended, ended = down => ended }
}

async fn channels(socket: Socket, far: Far, wanted: &Wanted) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(far);
    let mut opener = Opener::default();
    let mut by_channel = HashMap::new();
    // In the order in which the runtime expects them.
    let asked = [(ERROR, true), (0, wanted.stdin), (1, wanted.stdout), (2, wanted.stderr), (4, wanted.tty)];
    for (channel, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        let (id, frame) = opener.open(&[("streamtype", STREAMS[usize::from(channel)])]);
        writer.write_all(&frame).await?;
        by_channel.insert(channel, id);
    }
    let (mut out, incoming) = socket.split();
    let (pongs, pings) = tokio::sync::mpsc::channel(4);
    let by_stream: HashMap<u32, u8> = by_channel.iter().map(|(channel, id)| (*id, *channel)).collect();
    let ended = tokio::select! {
        ended = up(incoming, writer, &by_channel, pings) => ended,
        ended = down(reader, &mut out, &by_stream, pongs) => ended,
    };
    let _ = out.send(normal()).await;
    ended
}

/// From the client to the runtime.
async fn up(
    mut incoming: SplitStream<Socket>,
    mut writer: WriteHalf<Far>,
    by_channel: &HashMap<u8, u32>,
    mut pings: tokio::sync::mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    loop {
        let message = tokio::select! {
            message = incoming.next() => message,
            Some(ping) = pings.recv() => {
                writer.write_all(&spdy::pong(&ping)).await?;
                continue;
            }
        };
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => Bytes::copy_from_slice(text.as_bytes()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return writer.shutdown().await,
        };
        let Some((channel, rest)) = bytes.split_first() else { continue };
        if *channel == CLOSE {
            if let Some(id) = rest.first().and_then(|closed| by_channel.get(closed)) {
                writer.write_all(&spdy::data(*id, &[], true)).await?;
            }
            continue;
        }
        // Only what a client may write to.
        if let Some(id) = by_channel.get(channel).filter(|_| matches!(channel, 0 | 4)) {
            for piece in rest.chunks(PIECE) {
                writer.write_all(&spdy::data(*id, piece, false)).await?;
            }
        }
    }
}

/// From the runtime to the client, until all that the runtime writes is closed.
async fn down(
    mut reader: ReadHalf<Far>,
    out: &mut SplitSink<Socket, Message>,
    by_stream: &HashMap<u32, u8>,
    pongs: tokio::sync::mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut open: Vec<u8> = by_stream.values().copied().filter(|channel| (1..=ERROR).contains(channel)).collect();
    let mut buffer = BytesMut::new();
    while !open.is_empty() {
        let (stream, bytes, last) = match spdy::read(&mut reader, &mut buffer).await? {
            None => break,
            Some(Frame::Data { stream, bytes, last }) => (stream, bytes, last),
            Some(Frame::Reset { stream }) => (stream, Bytes::new(), true),
            Some(Frame::Ping(ping)) => {
                let _ = pongs.send(ping).await;
                continue;
            }
            Some(Frame::Other) => continue,
        };
        let Some(channel) = by_stream.get(&stream).copied() else { continue };
        if !bytes.is_empty() {
            let mut message = BytesMut::with_capacity(1 + bytes.len());
            message.extend_from_slice(&[channel]);
            message.extend_from_slice(&bytes);
            out.send(Message::Binary(message.freeze())).await.map_err(io::Error::other)?;
        }
        if last {
            open.retain(|c| *c != channel);
        }
    }
    Ok(())
}

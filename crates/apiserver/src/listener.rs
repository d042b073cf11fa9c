//! HTTP over TLS: HTTP/1.1 and HTTP/2 by ALPN, client certificates handed on, upgrades left to handlers.
//!
//! Every connection is bounded in time while nothing is known of its client, and in what it may hold: a
//! client that sends its headers by the byte, opens streams and resets them, or never reads costs little.

use crate::audit::Peer;
use crate::authenticator::PeerCertificates;
use crate::body::{self, Body};
use crate::server::ApiServer;
use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// In a request's extensions: cancelled when its connection is to be given up, which ends its watches.
#[derive(Clone)]
pub struct Closing(pub CancellationToken);

/// In a request's extensions: cancelled to end its connection once what is under way has been answered.
#[derive(Clone)]
pub struct Stranger(pub CancellationToken);

/// What new connections are served with; replaced when certificates change, which leaves others alone.
pub type Tls = Arc<ArcSwap<rustls::ServerConfig>>;

#[derive(Clone, Debug)]
pub struct Limits {
    pub handshake: Duration,
    /// A client that has not sent its headers by then does not mean to.
    pub headers: Duration,
    /// How long answers under way may take once the server stops.
    pub drain: Duration,
    pub keep_alive: Duration,
    /// On one connection at once, as upstream has it.
    pub streams: u32,
    /// Of one request, in bytes.
    pub header_bytes: u32,
    /// Streams that a client has reset before they were taken up.
    pub resets: usize,
    /// What waits to be read by a client, in bytes a stream.
    pub send_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            keep_alive: Duration::from_secs(30),
            streams: 100,
            header_bytes: 64 << 10,
            resets: 20,
            send_buffer: 256 << 10,
        }
    }
}

/// Accepts until the server drains, then lets what is under way finish.
pub async fn serve(server: ApiServer, listener: TcpListener, tls: Tls, limits: Limits) {
    let drain = server.inner.drain.clone();
    let connections = TaskTracker::new();
    let limits = Arc::new(limits);
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let acceptor = TlsAcceptor::from(tls.load_full());
                connections.spawn(connection(server.clone(), acceptor, stream, peer, limits.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::debug!(left = connections.len(), "connections were cut");
    }
}

async fn connection(server: ApiServer, acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, limits: Arc<Limits>) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        failed => {
            server.inner.metrics.requests.handshake_errors.inc();
            tracing::debug!(%peer, error = failed.err().map_or_else(|| "handshake".to_string(), |e| e.to_string()), "TLS handshake failed");
            return;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificates = certificates.map(|chain| PeerCertificates::new(chain.iter().map(|c| c.clone().into_owned()).collect()));
    let drain = server.inner.drain.clone();
    let (closing, stranger) = (Closing(drain.child_token()), Stranger(CancellationToken::new()));
    let service = {
        let (closing, stranger) = (closing.clone(), stranger.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let server = server.clone();
            let extensions = request.extensions_mut();
            if let Some(certificates) = &certificates {
                extensions.insert(certificates.clone());
            }
            extensions.insert(Peer(peer));
            extensions.insert(closing.clone());
            extensions.insert(stranger.clone());
            async move { Ok::<_, Infallible>(server.handle(request.map(|b| -> Body { body::wrap(b) })).await) }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .max_pending_accept_reset_streams(limits.resets)
        .max_send_buf_size(limits.send_buffer)
        .keep_alive_interval(limits.keep_alive)
        .adaptive_window(true);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = stranger.0.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error, "a connection ended");
    }
}

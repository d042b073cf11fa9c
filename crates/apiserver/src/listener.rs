//! HTTP over TLS: HTTP/1.1 and HTTP/2 by ALPN, client certificates handed on, upgrades left to handlers.

use crate::authenticator::PeerCertificates;
use crate::body::{self, Body};
use crate::server::ApiServer;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// In a request's extensions: cancelled when its connection is to be given up, which ends its watches.
#[derive(Clone)]
pub struct Closing(pub CancellationToken);

const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client that has not sent its headers by then does not mean to.
const HEADERS: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server stops.
const DRAIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const STREAMS: u32 = 1000;

/// Accepts until `stop`, then lets what is under way finish.
pub async fn serve(server: ApiServer, listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(server.clone(), acceptor.clone(), stream, stop.clone()));
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

async fn connection(server: ApiServer, acceptor: TlsAcceptor, stream: TcpStream, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let peer = stream.get_ref().1.peer_certificates().map(|chain| PeerCertificates(chain.iter().map(|c| c.clone().into_owned()).collect()));
    let closing = Closing(stop.child_token());
    let service = {
        let closing = closing.clone();
        service_fn(move |mut request: Request<Incoming>| {
            let server = server.clone();
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            request.extensions_mut().insert(closing.clone());
            async move { Ok::<_, Infallible>(server.handle(request.map(|b| -> Body { body::wrap(b) })).await) }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(KEEP_ALIVE).adaptive_window(true);
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

//! Connections to pods, kept while they are idle. A connection carries one HTTP/1.1 request at a time
//! and comes back when its response has been read to the end; an HTTP/2 one carries many.

use super::forward::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Below the keep-alive time of common servers, so that the server is rarely the first to close.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_PER_ENDPOINT: usize = 64;

/// A connection, and since when it waits.
type Idle = (http1::SendRequest<Body>, Instant);

#[derive(Default)]
pub struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    shared: Mutex<HashMap<SocketAddr, http2::SendRequest<Body>>>,
}

impl Pool {
    /// An idle connection, if a live one is there.
    pub fn take(&self, to: SocketAddr) -> Option<http1::SendRequest<Body>> {
        let mut idle = self.idle.lock();
        let waiting = idle.get_mut(&to)?;
        while let Some((sender, since)) = waiting.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(sender);
            }
        }
        None
    }

    pub async fn connect(&self, to: SocketAddr) -> Result<http1::SendRequest<Body>, std::io::Error> {
        let stream = dial(to).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%to, %error, "connection to a pod ended");
            }
        });
        Ok(sender)
    }

    pub async fn connect_h2(&self, to: SocketAddr) -> Result<http2::SendRequest<Body>, std::io::Error> {
        if let Some(sender) = self.shared.lock().get(&to).filter(|s| !s.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = dial(to).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%to, %error, "connection to a pod ended");
            }
        });
        self.shared.lock().insert(to, sender.clone());
        Ok(sender)
    }

    /// Keeps the connection for the next request, once it can take one.
    pub fn give_back(self: &Arc<Self>, to: SocketAddr, mut sender: http1::SendRequest<Body>) {
        let pool = self.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_err() {
                return;
            }
            let mut idle = pool.idle.lock();
            let waiting = idle.entry(to).or_default();
            waiting.retain(|(_, since)| since.elapsed() < IDLE);
            if waiting.len() < IDLE_PER_ENDPOINT {
                waiting.push((sender, Instant::now()));
            }
        });
    }

    /// Forgets the connections to endpoints that are no longer routed to.
    pub fn keep_only(&self, endpoints: &HashSet<SocketAddr>) {
        self.idle.lock().retain(|to, _| endpoints.contains(to));
        self.shared.lock().retain(|to, _| endpoints.contains(to));
    }
}

async fn dial(to: SocketAddr) -> Result<TcpStream, std::io::Error> {
    let stream = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(to))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

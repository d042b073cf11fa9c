//! The ingress controller: `routes` turns objects into a routing table (pure), `table` keeps it
//! current, `tls` answers handshakes from it, `server` accepts, `forward` carries a request to a pod
//! over `pool`, `status` writes back where an Ingress is reached.

mod forward;
mod pool;
mod routes;
mod server;
mod status;
mod table;
mod tls;

use client::Informers;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What `spec.controller` of our IngressClass says.
pub const CONTROLLER: &str = "socle.dev/ingress-controller";
/// The IngressClass made at the first start, and the default one.
pub const CLASS: &str = "socle";

#[derive(Clone, Debug)]
pub struct Config {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// What Ingress objects show as their address.
    pub address: IpAddr,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("the ingress cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    #[error("no default certificate: {0}")]
    Certificate(String),
}

/// Listens and routes until `stop`. Returns early only if a port cannot be had.
pub async fn run(config: Config, informers: Informers, stop: CancellationToken) -> Result<(), Error> {
    let http = TcpListener::bind(config.http).await.map_err(|e| Error::Listen(config.http, e))?;
    let https = TcpListener::bind(config.https).await.map_err(|e| Error::Listen(config.https, e))?;
    let table = Arc::new(table::Live::new());
    let acceptor = tls::acceptor(table.clone())?;
    let forwarder = Arc::new(forward::Forwarder::new(table.clone()));
    let follow = table::follow(informers.clone(), table, forwarder.clone(), stop.clone());
    let status = status::run(config.address, informers, stop.clone());
    let plain = server::accept(http, None, forwarder.clone(), stop.clone());
    let secure = server::accept(https, Some(acceptor), forwarder, stop);
    tokio::join!(follow, status, plain, secure);
    Ok(())
}

#[cfg(test)]
mod tests;

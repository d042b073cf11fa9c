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
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const RETRY: Duration = Duration::from_secs(1);

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
    #[error("no default certificate: {0}")]
    Certificate(String),
}

/// The two ports. One that another process holds is waited for: an ingress that is late is worth more than a platform
/// that does not start.
pub struct Ports {
    http: Port,
    https: Port,
}

struct Port {
    address: SocketAddr,
    listener: Result<TcpListener, std::io::Error>,
}

impl Port {
    async fn bind(address: SocketAddr) -> Self {
        Self { address, listener: TcpListener::bind(address).await }
    }

    fn trouble(&self) -> Option<String> {
        self.listener.as_ref().err().map(|error| format!("the ingress waits for {}: {error}", self.address))
    }

    async fn had(self) -> TcpListener {
        match self.listener {
            Ok(listener) => listener,
            Err(_) => loop {
                tokio::time::sleep(RETRY).await;
                if let Ok(listener) = TcpListener::bind(self.address).await {
                    tracing::info!(address = %self.address, "the ingress listens at last");
                    return listener;
                }
            },
        }
    }
}

impl Ports {
    pub async fn bind(config: &Config) -> Self {
        Self { http: Port::bind(config.http).await, https: Port::bind(config.https).await }
    }

    /// Which of them could not be had, and why.
    pub fn troubles(&self) -> Vec<String> {
        [&self.http, &self.https].into_iter().filter_map(Port::trouble).collect()
    }
}

/// Routes until `stop`.
pub async fn run(config: Config, ports: Ports, informers: Informers, stop: CancellationToken) -> Result<(), Error> {
    let table = Arc::new(table::Live::new());
    let acceptor = tls::acceptor(table.clone())?;
    let forwarder = Arc::new(forward::Forwarder::new(table.clone()));
    let follow = table::follow(informers.clone(), table, forwarder.clone(), stop.clone());
    // Where an Ingress is reached is told once it is.
    let plain = async {
        if let Some(listener) = stop.run_until_cancelled(ports.http.had()).await {
            let status = status::run(config.address, informers.clone(), stop.clone());
            tokio::join!(status, server::accept(listener, None, forwarder.clone(), stop.clone()));
        }
    };
    let secure = async {
        if let Some(listener) = stop.run_until_cancelled(ports.https.had()).await {
            server::accept(listener, Some(acceptor), forwarder.clone(), stop.clone()).await;
        }
    };
    tokio::join!(follow, plain, secure);
    Ok(())
}

#[cfg(test)]
mod tests;

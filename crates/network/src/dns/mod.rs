//! The cluster's names: authoritative for the cluster domain and the reverse names of Services, for all
//! else a forwarder to the node's resolvers. `zone` knows the names (pure), `answer` makes messages of
//! them (pure), `follow` keeps the zone current, `server` listens, `upstream` forwards.

mod answer;
mod follow;
mod server;
mod upstream;
mod zone;

use crate::Config;
use client::Informers;
use parking_lot::RwLock;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use zone::Zone;

const PORT: u16 = 53;

/// Serves the cluster's names at `config.cluster_dns_ip` until `stop`. Queries are answered once the
/// first complete picture is there: an early "no such name" would be believed and kept.
pub async fn run(config: Config, informers: Informers, stop: CancellationToken) {
    let zone = Arc::new(RwLock::new(Zone::new(&config)));
    let follow = follow::run(informers, zone.clone());
    if stop.run_until_cancelled(follow).await.is_none() {
        return;
    }
    let at = SocketAddr::new(IpAddr::V4(config.cluster_dns_ip), PORT);
    let upstream = upstream::Upstream::new(config.resolv_conf.clone(), vec![at.ip()]);
    server::run(at, Arc::new(server::Resolver { zone, upstream }), stop).await;
}

#[cfg(test)]
mod tests;

//! A node's network: the pods' addresses (`cni`), the path from a Service to its endpoints
//! (`services`), the cluster's names (`dns`), and what the host itself needs for all that (`host`).
//!
//! Every pod hangs on a bridge of its node by a veth pair. It holds a /32 and a route to the bridge, so
//! that its traffic, to a neighbour too, passes the node's IP layer: address translation and, once there
//! is one, policy see every packet in both directions, with or without the kernel's bridge filter.
//!
//! Everything in nftables lives in tables of our own (`socle-host`, `socle-hostports`,
//! `socle-services`), which are only ever changed in whole transactions. A packet is never accepted
//! against a foreign table's will: a `FORWARD` chain elsewhere whose policy drops has to let the pod
//! CIDR pass.
//!
//! Not here yet: IPv6 and dual stack, NetworkPolicy (all traffic is allowed), routes or an overlay
//! between nodes, and the health check port of `externalTrafficPolicy: Local`.

pub mod cni;
mod config;
pub mod dns;
mod files;
mod host;
mod netlink;
mod nft;
pub mod services;

pub use config::Config;
pub use dns::run as run_dns;
pub use host::{HostError, cleanup, prepare as prepare_host};
pub use services::run as run_services;

#[cfg(test)]
mod lab;

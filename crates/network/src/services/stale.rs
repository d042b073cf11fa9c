//! UDP flows that the kernel still translates to an endpoint that is gone, or does not translate although
//! there is one by now.

use super::table::{Protocol, ServicePort};
use crate::netlink::Socket;
use crate::netlink::conntrack::Flow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddrV4;

/// Where UDP Services are reached, and who may answer there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frontends {
    addresses: BTreeMap<SocketAddrV4, BTreeSet<SocketAddrV4>>,
    node_ports: BTreeMap<u16, BTreeSet<SocketAddrV4>>,
}

impl Frontends {
    pub fn of(table: &[ServicePort]) -> Self {
        let mut frontends = Self::default();
        for port in table.iter().filter(|p| p.protocol == Protocol::Udp) {
            let endpoints: BTreeSet<_> = port.cluster.union(&port.local).copied().collect();
            for ip in port.externals().chain([port.cluster_ip]) {
                frontends.addresses.insert(SocketAddrV4::new(ip, port.port), endpoints.clone());
            }
            if let Some(number) = port.node_port {
                frontends.node_ports.insert(number, endpoints);
            }
        }
        frontends
    }

    /// Returns how many were forgotten.
    pub fn forget_stale(&self) -> io::Result<usize> {
        if self.addresses.is_empty() {
            return Ok(0);
        }
        let mut kernel = Socket::netfilter()?;
        let mut forgotten = 0;
        for flow in kernel.udp_flows(|flow| self.is_stale(flow))? {
            forgotten += usize::from(kernel.delete_flow(&flow)?);
        }
        Ok(forgotten)
    }

    /// An untranslated flow would do better once there is an endpoint; a translated one must lead to one
    /// that still is.
    fn is_stale(&self, flow: &Flow) -> bool {
        let behind = self.addresses.get(&flow.destination).or_else(|| self.node_ports.get(&flow.destination.port()));
        behind.is_some_and(|endpoints| {
            let untranslated = flow.answered_by == flow.destination;
            if untranslated { !endpoints.is_empty() } else { !endpoints.contains(&flow.answered_by) }
        })
    }
}

//! From Service and EndpointSlice objects to what one node must do with each service port: the
//! addresses it is reached at, and the endpoints that stand behind them. Pure.

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// A service that another proxy serves.
const FOREIGN_PROXY: &str = "service.kubernetes.io/service-proxy-name";
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

/// Who we are: what "local" and "close" mean for endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub node: String,
    pub zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// One port of one Service, as this node serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/name/protocol/port`, unique.
    pub id: String,
    pub protocol: Protocol,
    pub port: u16,
    pub cluster_ip: Ipv4Addr,
    pub node_port: Option<u16>,
    pub external_ips: BTreeSet<Ipv4Addr>,
    pub load_balancer_ips: BTreeSet<Ipv4Addr>,
    /// Who may use the load balancer's addresses; empty: everybody.
    pub source_ranges: BTreeSet<Ipv4Net>,
    /// Seconds for which a client stays with its endpoint.
    pub affinity: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    /// For traffic that may go to any node.
    pub cluster: BTreeSet<SocketAddrV4>,
    /// For traffic that must stay on this one.
    pub local: BTreeSet<SocketAddrV4>,
    /// Addresses of this node's pods among the endpoints: those that may call themselves.
    pub own: BTreeSet<Ipv4Addr>,
}

impl ServicePort {
    pub fn externals(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.external_ips.union(&self.load_balancer_ips).copied()
    }

    pub fn has_external(&self) -> bool {
        self.node_port.is_some() || self.externals().next().is_some()
    }
}

pub type Slices = HashMap<(String, String), Vec<Arc<EndpointSlice>>>;

/// Every port that has an address of its own, sorted by id.
pub fn build(services: &[Arc<Service>], slices: &Slices, place: &Place) -> Vec<ServicePort> {
    let mut table = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let Some(cluster_ip) = cluster_ip(spec) else { continue };
        if service.labels().contains_key(FOREIGN_PROXY) || spec.type_.as_deref() == Some("ExternalName") {
            continue;
        }
        let key = (service.namespace().unwrap_or_default(), service.name_any());
        let behind = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
        for port in spec.ports.iter().flatten() {
            let (Some(protocol), Ok(number)) = (Protocol::parse(port.protocol.as_deref()), u16::try_from(port.port)) else { continue };
            let found = endpoints(behind, port.name.as_deref().unwrap_or(""), protocol, place);
            table.push(ServicePort {
                id: format!("{}/{}/{protocol}/{number}", key.0, key.1),
                protocol,
                port: number,
                cluster_ip,
                node_port: port.node_port.and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0),
                external_ips: addresses(spec.external_ips.iter().flatten()),
                load_balancer_ips: load_balancer_ips(service),
                source_ranges: source_ranges(service, spec),
                affinity: affinity(spec),
                internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
                external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
                cluster: found.cluster,
                local: found.local,
                own: found.own,
            });
        }
    }
    table.sort_by(|a, b| a.id.cmp(&b.id));
    table
}

fn cluster_ip(spec: &ServiceSpec) -> Option<Ipv4Addr> {
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    listed.filter_map(|ip| ip.parse().ok()).next()
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> BTreeSet<Ipv4Addr> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Addresses that lead to the nodes as they are; one in `Proxy` mode is translated on its way.
fn load_balancer_ips(service: &Service) -> BTreeSet<Ipv4Addr> {
    if service.spec.as_ref().and_then(|s| s.type_.as_deref()) != Some("LoadBalancer") {
        return BTreeSet::new();
    }
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let points = status.and_then(|s| s.ingress.as_deref()).unwrap_or_default();
    addresses(points.iter().filter(|p| p.ip_mode.as_deref() != Some("Proxy")).filter_map(|p| p.ip.as_ref()))
}

fn source_ranges(service: &Service, spec: &ServiceSpec) -> BTreeSet<Ipv4Net> {
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return BTreeSet::new();
    }
    let named = spec.load_balancer_source_ranges.iter().flatten().map(|r| r.trim()).filter_map(|r| r.parse::<Ipv4Net>().ok());
    let ranges: BTreeSet<_> = named.map(|net| net.trunc()).collect();
    if ranges.contains(&Ipv4Net::default()) {
        return BTreeSet::new();
    }
    if ranges.is_empty() && spec.load_balancer_source_ranges.as_ref().is_some_and(|r| !r.is_empty()) {
        // Ranges of another family only: nobody of ours is meant.
        tracing::debug!(service = %service.name_any(), "no IPv4 source range; its load balancer admits nobody over IPv4");
        return BTreeSet::from([Ipv4Net::from(Ipv4Addr::UNSPECIFIED)]);
    }
    ranges
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let configured = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref()).and_then(|c| c.timeout_seconds);
    Some(configured.and_then(|s| u32::try_from(s).ok()).unwrap_or(DEFAULT_AFFINITY_SECONDS))
}

#[derive(Default)]
struct Found {
    cluster: BTreeSet<SocketAddrV4>,
    local: BTreeSet<SocketAddrV4>,
    own: BTreeSet<Ipv4Addr>,
}

/// Ready endpoints; where there is none, those that still serve while they terminate (KEP-1669). The
/// choice is made for all nodes and for this one separately.
fn endpoints(slices: &[Arc<EndpointSlice>], port_name: &str, protocol: Protocol, place: &Place) -> Found {
    struct Candidate<'a> {
        address: SocketAddrV4,
        endpoint: &'a Endpoint,
        local: bool,
        ready: bool,
    }
    let mut candidates = Vec::new();
    for slice in slices.iter().filter(|s| s.address_type == "IPv4") {
        let matching = slice
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref().unwrap_or("") == port_name && Protocol::parse(p.protocol.as_deref()) == Some(protocol));
        let Some(port) = matching.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(ip) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else { continue };
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let leaving = conditions.is_some_and(|c| c.terminating == Some(true) && c.serving.unwrap_or(true));
            if ready || leaving {
                let local = endpoint.node_name.as_deref() == Some(&place.node);
                candidates.push(Candidate { address: SocketAddrV4::new(ip, port), endpoint, local, ready });
            }
        }
    }
    let mut found = Found { own: candidates.iter().filter(|c| c.local).map(|c| *c.address.ip()).collect(), ..Found::default() };
    let choose = |of: &dyn Fn(&&Candidate<'_>) -> bool| {
        let any_ready = candidates.iter().filter(of).any(|c| c.ready);
        candidates.iter().filter(of).filter(|c| c.ready == any_ready).collect::<Vec<_>>()
    };
    let everywhere = choose(&|_| true);
    let ready: Vec<_> = everywhere.iter().filter(|c| c.ready).map(|c| c.endpoint).collect();
    let close = close_by(&ready, place);
    found.cluster = everywhere.iter().filter(|c| !c.ready || close(c.endpoint)).map(|c| c.address).collect();
    found.local = choose(&|c| c.local).iter().map(|c| c.address).collect();
    found
}

/// Which endpoints the topology hints leave to this node. Hints count only if every endpoint has one and
/// somebody is meant for us; otherwise traffic could end nowhere.
fn close_by<'a>(ready: &[&Endpoint], place: &'a Place) -> Box<dyn Fn(&Endpoint) -> bool + 'a> {
    fn nodes(endpoint: &Endpoint) -> Option<impl Iterator<Item = &str>> {
        Some(endpoint.hints.as_ref()?.for_nodes.as_ref()?.iter().map(|n| n.name.as_str()))
    }
    fn zones(endpoint: &Endpoint) -> Option<impl Iterator<Item = &str>> {
        Some(endpoint.hints.as_ref()?.for_zones.as_ref()?.iter().map(|z| z.name.as_str()))
    }
    let node = place.node.as_str();
    let for_node = move |endpoint: &Endpoint| nodes(endpoint).is_some_and(|mut n| n.any(|name| name == node));
    if ready.iter().all(|e| nodes(e).is_some()) && ready.iter().any(|e| for_node(e)) {
        return Box::new(for_node);
    }
    if let Some(zone) = place.zone.as_deref() {
        let for_zone = move |endpoint: &Endpoint| zones(endpoint).is_some_and(|mut z| z.any(|name| name == zone));
        if ready.iter().all(|e| zones(e).is_some()) && ready.iter().any(|e| for_zone(e)) {
            return Box::new(for_zone);
        }
    }
    Box::new(|_| true)
}

#[cfg(test)]
mod tests;

//! What the cluster's names mean (the DNS specification for Services, 1.1.0), kept per Service so that a
//! change costs that Service only.

use crate::Config;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const SPECIFICATION: &str = "1.1.0";

/// A namespace and a name in it.
pub type Key = (String, String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    A(Ipv4Addr),
    /// Port, and the full name it is at.
    Srv(u16, String),
    Txt(&'static str),
    Ptr(String),
    /// Another name stands for this one.
    Cname(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Address,
    Srv,
    Txt,
    Ptr,
    Any,
    /// A type that the zone has no records of, but whose names it knows.
    Other,
}

/// What the zone says about a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Empty: the name exists, records of this type do not.
    Found(Vec<Data>),
    NoName,
    /// None of ours.
    Foreign,
}

#[derive(Default)]
struct Entry {
    service: Option<Arc<Service>>,
    slices: BTreeMap<String, Arc<EndpointSlice>>,
    names: Names,
}

/// What a Service and its endpoints come to.
#[derive(Default)]
struct Names {
    external: Option<String>,
    addresses: Vec<Ipv4Addr>,
    /// Endpoints of a headless Service: by host name, or by the address with dashes.
    hosts: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    ports: Vec<Port>,
    reverse: BTreeSet<(Ipv4Addr, String)>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    protocol: String,
    number: u16,
    /// The label of an endpoint; the Service itself if none.
    host: Option<String>,
}

pub struct Zone {
    /// Labels of the cluster domain, lower case.
    domain: Vec<String>,
    dns: Ipv4Addr,
    /// Whose reverse names are ours alone.
    ranges: [Ipv4Net; 2],
    namespaces: HashSet<String>,
    services: HashMap<Key, Entry>,
    reverse: HashMap<Ipv4Addr, BTreeSet<String>>,
    serial: u32,
}

impl Zone {
    pub fn new(config: &Config) -> Self {
        let domain = config.cluster_domain.trim_matches('.').to_ascii_lowercase();
        Self {
            domain: domain.split('.').map(str::to_string).collect(),
            dns: config.cluster_dns_ip,
            ranges: [config.service_cidr, config.cluster_cidr],
            namespaces: HashSet::new(),
            services: HashMap::new(),
            reverse: HashMap::new(),
            serial: 1,
        }
    }

    pub fn domain(&self) -> String {
        self.domain.join(".")
    }

    /// Grows with every change, as a zone's serial does.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    pub fn set_namespace(&mut self, name: &str, present: bool) {
        if present {
            self.namespaces.insert(name.to_string());
        } else {
            self.namespaces.remove(name);
        }
    }

    pub fn set_service(&mut self, key: Key, service: Option<Arc<Service>>) {
        self.services.entry(key.clone()).or_default().service = service;
        self.renew(key);
    }

    pub fn set_slice(&mut self, of: Key, name: &str, slice: Option<Arc<EndpointSlice>>) {
        let slices = &mut self.services.entry(of.clone()).or_default().slices;
        match slice {
            Some(slice) => slices.insert(name.to_string(), slice),
            None => slices.remove(name),
        };
        self.renew(of);
    }

    fn renew(&mut self, key: Key) {
        self.serial = self.serial.wrapping_add(1);
        let domain = self.domain();
        let Some(entry) = self.services.get_mut(&key) else { return };
        let names = entry.service.as_ref().map(|s| Names::of(s, &entry.slices, &key, &domain)).unwrap_or_default();
        let before = std::mem::replace(&mut entry.names, names);
        for (address, name) in &before.reverse {
            if let Some(names) = self.reverse.get_mut(address) {
                names.remove(name);
                if names.is_empty() {
                    self.reverse.remove(address);
                }
            }
        }
        for (address, name) in &entry.names.reverse {
            self.reverse.entry(*address).or_default().insert(name.clone());
        }
        if entry.service.is_none() && entry.slices.is_empty() {
            self.services.remove(&key);
        }
    }

    /// `labels` from left to right, lower case, without the root.
    pub fn lookup(&self, labels: &[&str], wanted: Wanted) -> Lookup {
        if let Some(relative) = self.within(labels) {
            return self.forward(relative, wanted);
        }
        let Some(reversed) = labels.strip_suffix(&["in-addr", "arpa"]) else { return Lookup::Foreign };
        self.backward(reversed, wanted)
    }

    fn within<'a, 'b>(&self, labels: &'a [&'b str]) -> Option<&'a [&'b str]> {
        let (relative, end) = labels.split_at_checked(labels.len().checked_sub(self.domain.len())?)?;
        end.iter().zip(&self.domain).all(|(a, b)| a == b).then_some(relative)
    }

    fn forward(&self, relative: &[&str], wanted: Wanted) -> Lookup {
        let addresses = |found: Vec<Ipv4Addr>| match wanted {
            Wanted::Address | Wanted::Any => Lookup::Found(found.into_iter().map(Data::A).collect()),
            _ => Lookup::Found(Vec::new()),
        };
        match relative {
            [] | ["svc" | "pod"] => Lookup::Found(Vec::new()),
            ["dns-version"] => match wanted {
                Wanted::Txt | Wanted::Any => Lookup::Found(vec![Data::Txt(SPECIFICATION)]),
                _ => Lookup::Found(Vec::new()),
            },
            ["ns", "dns"] => addresses(vec![self.dns]),
            ["dns"] => Lookup::Found(Vec::new()),
            [namespace, "svc" | "pod"] if self.namespaces.contains(*namespace) => Lookup::Found(Vec::new()),
            [address, namespace, "pod"] if self.namespaces.contains(*namespace) => match undashed(address) {
                Some(address) => addresses(vec![address]),
                None => Lookup::NoName,
            },
            [rest @ .., service, namespace, "svc"] => {
                let Some(entry) = self.services.get(&(namespace.to_string(), service.to_string())) else { return Lookup::NoName };
                if entry.service.is_none() {
                    return Lookup::NoName;
                }
                entry.names.lookup(rest, wanted, &|host| {
                    let host = host.map(|h| format!("{h}.")).unwrap_or_default();
                    format!("{host}{service}.{namespace}.svc.{}", self.domain())
                })
            }
            _ => Lookup::NoName,
        }
    }

    fn backward(&self, reversed: &[&str], wanted: Wanted) -> Lookup {
        let octets: Option<Vec<u8>> = reversed.iter().rev().map(|label| label.parse().ok()).collect();
        let Some(Ok(octets)) = octets.map(<[u8; 4]>::try_from) else { return Lookup::Foreign };
        let address = Ipv4Addr::from(octets);
        match self.reverse.get(&address) {
            Some(names) if matches!(wanted, Wanted::Ptr | Wanted::Any) => Lookup::Found(names.iter().cloned().map(Data::Ptr).collect()),
            Some(_) => Lookup::Found(Vec::new()),
            // Nobody upstream knows better.
            None if self.ranges.iter().any(|range| range.contains(&address)) => Lookup::NoName,
            None => Lookup::Foreign,
        }
    }
}

impl Names {
    fn of(service: &Service, slices: &BTreeMap<String, Arc<EndpointSlice>>, key: &Key, domain: &str) -> Self {
        let mut names = Self::default();
        let Some(spec) = &service.spec else { return names };
        if spec.type_.as_deref() == Some("ExternalName") {
            names.external = spec.external_name.as_ref().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
            return names;
        }
        let full = format!("{}.{}.svc.{domain}", key.1, key.0);
        if spec.cluster_ip.as_deref() != Some("None") {
            let own = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
            names.addresses = own.filter_map(|ip| ip.parse().ok()).collect();
            names.addresses.dedup();
            for port in spec.ports.iter().flatten() {
                let Ok(number) = u16::try_from(port.port) else { continue };
                names.port(port.name.as_deref(), port.protocol.as_deref(), number, None);
            }
            names.reverse = names.addresses.iter().map(|ip| (*ip, full.clone())).collect();
            return names;
        }
        for slice in slices.values().filter(|s| s.address_type == "IPv4") {
            for endpoint in slice.endpoints.iter().flatten() {
                if !endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true) {
                    continue;
                }
                for address in endpoint.addresses.iter().filter_map(|a| a.parse::<Ipv4Addr>().ok()) {
                    let named = endpoint.hostname.as_deref().filter(|h| !h.is_empty()).map(str::to_ascii_lowercase);
                    let host = named.unwrap_or_else(|| address.to_string().replace('.', "-"));
                    names.reverse.insert((address, format!("{host}.{full}")));
                    for port in slice.ports.iter().flatten() {
                        let Some(Ok(number)) = port.port.map(u16::try_from) else { continue };
                        names.port(port.name.as_deref(), port.protocol.as_deref(), number, Some(host.clone()));
                    }
                    names.hosts.entry(host).or_default().insert(address);
                }
            }
        }
        let all: BTreeSet<_> = names.hosts.values().flatten().copied().collect();
        names.addresses = all.into_iter().collect();
        names.ports.sort();
        names.ports.dedup();
        names
    }

    fn port(&mut self, name: Option<&str>, protocol: Option<&str>, number: u16, host: Option<String>) {
        let (name, protocol) = (name.unwrap_or("").to_ascii_lowercase(), protocol.unwrap_or("TCP").to_ascii_lowercase());
        self.ports.push(Port { name, protocol, number, host });
    }

    /// `rest` is what stands before the Service's name; `full` spells a name in it out.
    fn lookup(&self, rest: &[&str], wanted: Wanted, full: &dyn Fn(Option<&str>) -> String) -> Lookup {
        if let Some(target) = &self.external {
            return if rest.is_empty() { Lookup::Found(vec![Data::Cname(target.clone())]) } else { Lookup::NoName };
        }
        let addresses = matches!(wanted, Wanted::Address | Wanted::Any);
        let srv = matches!(wanted, Wanted::Srv | Wanted::Any);
        let service = |port: &Port| Data::Srv(port.number, full(port.host.as_deref()));
        match rest {
            [] => {
                let mut found: Vec<Data> = Vec::new();
                if addresses {
                    found.extend(self.addresses.iter().copied().map(Data::A));
                }
                if srv {
                    found.extend(self.ports.iter().map(service));
                }
                Lookup::Found(found)
            }
            [host] if self.hosts.contains_key(*host) => {
                let at = self.hosts.get(*host).into_iter().flatten();
                Lookup::Found(if addresses { at.copied().map(Data::A).collect() } else { Vec::new() })
            }
            // Half of a port's name: there is something below it.
            [protocol]
                if protocol
                    .strip_prefix('_')
                    .is_some_and(|p| self.ports.iter().any(|port| port.protocol == p && !port.name.is_empty())) =>
            {
                Lookup::Found(Vec::new())
            }
            [port, protocol] => {
                let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else { return Lookup::NoName };
                let matching: Vec<_> =
                    self.ports.iter().filter(|p| !p.name.is_empty() && p.name == port && p.protocol == protocol).collect();
                if matching.is_empty() {
                    return Lookup::NoName;
                }
                Lookup::Found(if srv { matching.into_iter().map(service).collect() } else { Vec::new() })
            }
            _ => Lookup::NoName,
        }
    }
}

/// `10-42-0-5` as an address.
fn undashed(label: &str) -> Option<Ipv4Addr> {
    match label.replace('-', ".").parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;

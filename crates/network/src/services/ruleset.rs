//! The wanted nftables table as a value, the difference of two such values, and both as scripts.
//!
//! Dispatch is by verdict maps, so that a packet costs the same however many Services there are, and a
//! changed Service costs its own chains and elements only. Everything fixed stands in [`Frame`]; what
//! depends on Services is in [`Ruleset`].

use super::table::{Protocol, ServicePort};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

pub const TABLE: &str = "socle-services";
/// On packets whose source is translated when they leave.
const MARK: &str = "0x4000";
/// The elements that depend on Services, by the name of their map or set.
const MAPS: [&str; 7] =
    ["cluster-ips", "firewall-ips", "hairpin", "no-endpoint-ips", "no-endpoint-nodeports", "service-ips", "service-nodeports"];

/// The part that only the node's configuration decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    /// Answered by the node itself; its port 53 is never translated.
    pub dns: Ipv4Addr,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Rules by chain.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Sets that the kernel fills: which client stays with which endpoint.
    pub affinities: BTreeSet<String>,
    /// Key to verdict (empty in a set), by map.
    pub elements: BTreeMap<&'static str, BTreeMap<String, String>>,
}

impl Ruleset {
    pub fn build(frame: &Frame, table: &[ServicePort]) -> Self {
        let mut ruleset = Self::default();
        for port in table {
            ruleset.port(frame, port);
        }
        ruleset
    }

    fn port(&mut self, frame: &Frame, port: &ServicePort) {
        let protocol = port.protocol;
        for address in &port.own {
            self.element("hairpin", format!("{address} . {address}"), String::new());
        }
        let name = |kind: &str| format!("{kind}-{:08x}-{}", hash(&port.id), port.id);
        let (all, local, external) = (name("service"), name("local"), name("external"));
        let external_use = port.has_external();
        if !port.cluster.is_empty() && (!port.internal_local || external_use) {
            self.balance(&all, port, &port.cluster);
        }
        if !port.local.is_empty() && (port.internal_local || (port.external_local && external_use)) {
            self.balance(&local, port, &port.local);
        }

        let dns = port.cluster_ip == frame.dns;
        if !dns {
            self.element("cluster-ips", port.cluster_ip.to_string(), String::new());
        }
        if !(dns && port.port == 53) {
            let key = format!("{} . {protocol} . {}", port.cluster_ip, port.port);
            let (endpoints, chain) = if port.internal_local { (&port.local, &local) } else { (&port.cluster, &all) };
            match (endpoints.is_empty(), port.cluster.is_empty()) {
                (false, _) => self.element("service-ips", key, format!("goto {chain}")),
                // Somewhere there are endpoints, only not here: the client is to try again.
                (true, false) => self.element("no-endpoint-ips", key, "drop".into()),
                (true, true) => self.element("no-endpoint-ips", key, "goto refuse".into()),
            }
        }

        if !external_use {
            return;
        }
        let mut keys: Vec<_> = port.externals().map(|ip| ("ips", format!("{ip} . {protocol} . {}", port.port))).collect();
        keys.extend(port.node_port.map(|number| ("nodeports", format!("{protocol} . {number}"))));
        if !port.cluster.is_empty() || !port.local.is_empty() {
            self.chains.insert(external.clone(), external_rules(frame, port, &all, &local));
        }
        for (kind, key) in keys {
            let (yes, no) = match kind {
                "ips" => ("service-ips", "no-endpoint-ips"),
                _ => ("service-nodeports", "no-endpoint-nodeports"),
            };
            if self.chains.contains_key(&external) {
                self.element(yes, key.clone(), format!("goto {external}"));
                // What the external chain does not translate comes by here.
                if port.external_local && port.local.is_empty() {
                    self.element(no, key, "drop".into());
                }
            } else {
                self.element(no, key, "goto refuse".into());
            }
        }
        if !port.source_ranges.is_empty() {
            let chain = name("firewall");
            let ranges: Vec<String> = port.source_ranges.iter().map(Ipv4Net::to_string).collect();
            self.chains.insert(chain.clone(), vec![format!("ip saddr {{ {} }} return", ranges.join(", ")), "drop".into()]);
            for ip in &port.load_balancer_ips {
                self.element("firewall-ips", format!("{ip} . {protocol} . {}", port.port), format!("goto {chain}"));
            }
        }
    }

    /// A chain that picks one of the endpoints, each with the same chance.
    fn balance(&mut self, chain: &str, port: &ServicePort, endpoints: &BTreeSet<SocketAddrV4>) {
        let protocol = port.protocol;
        let mut rules = Vec::new();
        match (port.affinity, endpoints.first()) {
            (None, Some(only)) if endpoints.len() == 1 => rules.push(translate(protocol, only)),
            (None, _) => {
                let choices = numbered(endpoints.iter().map(|to| format!("{} . {}", to.ip(), to.port())));
                rules.push(format!("meta l4proto {protocol} dnat ip to numgen random mod {} map {{ {choices} }}", endpoints.len()));
            }
            (Some(seconds), _) => {
                let mut gotos = Vec::new();
                for to in endpoints {
                    // Both policies share it: a client stays with its pod whichever way it comes.
                    let suffix = format!("{:08x}-{}-{}/{}", hash(&port.id), port.id, to.ip(), to.port());
                    let (set, target) = (format!("affinity-{suffix}"), format!("endpoint-{suffix}"));
                    rules.push(format!("ip saddr @{set} goto {target}"));
                    let kept = format!("update @{set} {{ ip saddr timeout {seconds}s }}");
                    self.chains.insert(target.clone(), vec![kept, translate(protocol, to)]);
                    self.affinities.insert(set);
                    gotos.push(format!("goto {target}"));
                }
                rules.push(format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), numbered(gotos.into_iter())));
            }
        }
        self.chains.insert(chain.to_string(), rules);
    }

    fn element(&mut self, map: &'static str, key: String, verdict: String) {
        // The first wins: two Services may claim one external address.
        self.elements.entry(map).or_default().entry(key).or_insert(verdict);
    }

    /// The whole table, put in place of whatever is there.
    pub fn script(&self, frame: &Frame) -> String {
        let mut script = frame.script();
        script.push_str(&Self::default().difference(self));
        script
    }

    /// What leads from this ruleset to `wanted`; empty if they are equal.
    pub fn difference(&self, wanted: &Self) -> String {
        let mut script = String::new();
        for set in wanted.affinities.difference(&self.affinities) {
            let _ = writeln!(script, "add set ip {TABLE} {set} {{ type ipv4_addr; flags dynamic, timeout; }}");
        }
        let changed: Vec<_> = wanted.chains.iter().filter(|(name, rules)| self.chains.get(*name) != Some(rules)).collect();
        // All chains first: their rules lead to each other.
        for (name, _) in &changed {
            let verb = if self.chains.contains_key(*name) { "flush" } else { "add" };
            let _ = writeln!(script, "{verb} chain ip {TABLE} {name}");
        }
        for (name, rules) in &changed {
            for rule in *rules {
                let _ = writeln!(script, "add rule ip {TABLE} {name} {rule}");
            }
        }
        let none = BTreeMap::new();
        for map in MAPS {
            let (before, after) = (self.elements.get(map).unwrap_or(&none), wanted.elements.get(map).unwrap_or(&none));
            let old: Vec<&str> = before.iter().filter(|(key, v)| after.get(*key) != Some(v)).map(|(key, _)| key.as_str()).collect();
            let new = after.iter().filter(|(key, v)| before.get(*key) != Some(v));
            let new: Vec<String> = new.map(|(key, v)| if v.is_empty() { key.clone() } else { format!("{key} : {v}") }).collect();
            for (verb, elements) in [("delete", old.join(", ")), ("add", new.join(", "))] {
                if !elements.is_empty() {
                    let _ = writeln!(script, "{verb} element ip {TABLE} {map} {{ {elements} }}");
                }
            }
        }
        let gone: Vec<_> = self.chains.keys().filter(|name| !wanted.chains.contains_key(*name)).collect();
        for verb in ["flush", "delete"] {
            for name in &gone {
                let _ = writeln!(script, "{verb} chain ip {TABLE} {name}");
            }
        }
        for set in self.affinities.difference(&wanted.affinities) {
            let _ = writeln!(script, "delete set ip {TABLE} {set}");
        }
        script
    }
}

impl Frame {
    fn script(&self) -> String {
        let Self { cluster_cidr, service_cidr, dns } = self;
        format!(
            "\
table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
  set cluster-ips {{
    type ipv4_addr
  }}
  set hairpin {{
    type ipv4_addr . ipv4_addr
  }}
  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  map service-nodeports {{
    type inet_proto . inet_service : verdict
  }}
  map no-endpoint-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  map no-endpoint-nodeports {{
    type inet_proto . inet_service : verdict
  }}
  map firewall-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark or {MARK}
  }}
  chain refuse {{
    reject
  }}
  chain services {{
    ip daddr @cluster-ips ip saddr != {cluster_cidr} jump mark-for-masquerade
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }}
  chain unanswered {{
    ip daddr . meta l4proto . th dport vmap @no-endpoint-ips
  }}
  chain unanswered-nodeports {{
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @no-endpoint-nodeports
  }}
  chain unknown-services {{
    ip daddr @cluster-ips reject
    ip daddr {service_cidr} ip daddr != {dns} drop
  }}
  chain firewall {{
    ip daddr . meta l4proto . th dport vmap @firewall-ips
  }}
  chain firewall-prerouting {{
    type filter hook prerouting priority -110
    ct state new jump firewall
  }}
  chain firewall-output {{
    type filter hook output priority -110
    ct state new jump firewall
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat
    meta mark and {MARK} != 0 meta mark set meta mark xor {MARK} masquerade fully-random
    ct status & dnat == dnat ip saddr . ip daddr @hairpin masquerade fully-random
  }}
  chain filter-input {{
    type filter hook input priority -110
    ct state new jump unanswered-nodeports
    ct state new jump unanswered
  }}
  chain filter-forward {{
    type filter hook forward priority -110
    ct state new jump unanswered
    ct state new jump unknown-services
  }}
  chain filter-output {{
    type filter hook output priority -99
    ct state new jump unanswered
    ct state new jump unanswered-nodeports
    ct state new jump unknown-services
  }}
}}
"
        )
    }
}

/// What comes from outside the cluster's own addressing.
fn external_rules(frame: &Frame, port: &ServicePort, all: &str, local: &str) -> Vec<String> {
    if !port.external_local {
        return vec!["jump mark-for-masquerade".into(), format!("goto {all}")];
    }
    let mut rules = Vec::new();
    // Pods and the node itself are not outside; for them the address is but another name of the Service.
    if !port.cluster.is_empty() {
        rules.push(format!("ip saddr {} goto {all}", frame.cluster_cidr));
        rules.push("fib saddr type local jump mark-for-masquerade".into());
        rules.push(format!("fib saddr type local goto {all}"));
    }
    if !port.local.is_empty() {
        rules.push(format!("goto {local}"));
    }
    rules
}

fn translate(protocol: Protocol, to: &SocketAddrV4) -> String {
    format!("meta l4proto {protocol} dnat to {}:{}", to.ip(), to.port())
}

fn numbered(items: impl Iterator<Item = String>) -> String {
    items.enumerate().map(|(i, item)| format!("{i} : {item}")).collect::<Vec<_>>().join(", ")
}

/// FNV-1a; makes chain names differ early, where tools cut them.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;

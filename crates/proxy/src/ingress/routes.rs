//! From Ingress, Service and EndpointSlice objects to a table that answers "which pods serve this
//! host and path?". Matching follows the Ingress API reference: exact hosts before wildcards, exact
//! paths before prefixes, longer paths before shorter, older Ingresses before newer.

use super::{CLASS, CONTROLLER};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass};
use kube::ResourceExt;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// Everything the table is made of, as the caches hold it.
#[derive(Default)]
pub struct Objects {
    pub classes: Vec<Arc<IngressClass>>,
    pub ingresses: Vec<Arc<Ingress>>,
    pub services: HashMap<(String, String), Arc<Service>>,
    pub slices: HashMap<(String, String), Vec<Arc<EndpointSlice>>>,
}

/// The pods behind one port of one Service.
#[derive(Debug)]
pub struct Backend {
    pub endpoints: Vec<SocketAddr>,
    /// HTTP/2 without TLS (`appProtocol: kubernetes.io/h2c`).
    pub h2c: bool,
    next: AtomicUsize,
}

impl Backend {
    fn new(endpoints: Vec<SocketAddr>, h2c: bool) -> Self {
        // Tables are rebuilt often; starting at the first each time would favour it.
        Self { endpoints, h2c, next: AtomicUsize::new(usize::from(rand::random::<u16>())) }
    }

    /// The endpoints in the order to try them: round robin, everyone once.
    pub fn turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let count = self.endpoints.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        (0..count).filter_map(move |i| self.endpoints.get(start.wrapping_add(i) % count).copied())
    }
}

#[derive(Debug)]
struct Rule {
    exact: bool,
    path: String,
    backend: Arc<Backend>,
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        if self.exact {
            return path == self.path;
        }
        // A prefix matches whole elements: /foo matches /foo and /foo/bar, not /foobar.
        let prefix = self.path.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[derive(Debug, Default)]
pub struct Table {
    hosts: HashMap<String, Vec<Rule>>,
    /// By what follows `*`: `.example.com`.
    wildcards: HashMap<String, Vec<Rule>>,
    any: Vec<Rule>,
    default: Option<Arc<Backend>>,
    /// Host (or `.example.com`) to the Secret with its certificate.
    pub certificates: BTreeMap<String, (String, String)>,
}

impl Table {
    pub fn build(objects: &Objects) -> Self {
        let mut table = Self::default();
        let mut backends: HashMap<(String, String, String), Arc<Backend>> = HashMap::new();
        let mut ingresses: Vec<_> = objects.ingresses.iter().filter(|i| is_ours(i, &objects.classes)).collect();
        ingresses.sort_by_key(|i| (i.creation_timestamp().map(|t| t.0), i.namespace(), i.name_any()));
        for ingress in ingresses {
            let namespace = ingress.namespace().unwrap_or_default();
            let Some(spec) = &ingress.spec else { continue };
            let mut find = |backend: &IngressBackend| backend_of(objects, &mut backends, &namespace, backend);
            if table.default.is_none() {
                table.default = spec.default_backend.as_ref().and_then(&mut find);
            }
            for rule in spec.rules.iter().flatten() {
                let host = rule.host.as_deref().unwrap_or("").to_ascii_lowercase();
                let rules = match host.strip_prefix('*') {
                    Some(suffix) => table.wildcards.entry(suffix.to_string()).or_default(),
                    None if host.is_empty() => &mut table.any,
                    None => table.hosts.entry(host).or_default(),
                };
                for path in rule.http.iter().flat_map(|http| &http.paths) {
                    let Some(backend) = find(&path.backend) else { continue };
                    let exact = path.path_type == "Exact";
                    rules.push(Rule { exact, path: path.path.clone().unwrap_or_else(|| "/".into()), backend });
                }
            }
            for tls in spec.tls.iter().flatten() {
                let Some(secret) = &tls.secret_name else { continue };
                // Without hosts the certificate is for those of the rules.
                let rule_hosts = || spec.rules.iter().flatten().filter_map(|r| r.host.clone()).collect();
                let hosts = tls.hosts.clone().filter(|h| !h.is_empty()).unwrap_or_else(rule_hosts);
                for host in hosts {
                    let key = host.strip_prefix('*').unwrap_or(&host).to_ascii_lowercase();
                    table.certificates.entry(key).or_insert_with(|| (namespace.clone(), secret.clone()));
                }
            }
        }
        for rules in table.hosts.values_mut().chain(table.wildcards.values_mut()).chain([&mut table.any]) {
            // Stable: of equal paths the older Ingress's stays first.
            rules.sort_by_key(|r| (!r.exact, std::cmp::Reverse(r.path.trim_end_matches('/').len())));
        }
        table
    }

    /// The pods for a host (without port) and a path.
    pub fn route(&self, host: &str, path: &str) -> Option<Arc<Backend>> {
        let host = host.to_ascii_lowercase();
        let find = |rules: &Vec<Rule>| rules.iter().find(|r| r.matches(path)).map(|r| r.backend.clone());
        let wildcard = host.find('.').and_then(|dot| self.wildcards.get(&host[dot..]));
        self.hosts
            .get(&host)
            .and_then(find)
            .or_else(|| wildcard.and_then(find))
            .or_else(|| find(&self.any))
            .or_else(|| self.default.clone())
    }

    /// The Secret for a server name; an exact host before a wildcard.
    pub fn certificate(&self, host: &str) -> Option<&(String, String)> {
        let host = host.to_ascii_lowercase();
        self.certificates.get(&host).or_else(|| host.find('.').and_then(|dot| self.certificates.get(&host[dot..])))
    }

    /// Every endpoint that may be asked, for the pool to know whose connections to keep.
    pub fn endpoints(&self) -> std::collections::HashSet<SocketAddr> {
        let rules = self.hosts.values().chain(self.wildcards.values()).chain([&self.any]).flatten();
        rules.map(|r| &r.backend).chain(&self.default).flat_map(|b| b.endpoints.iter().copied()).collect()
    }
}

/// Whether an Ingress names our class, or names none while ours is the default.
pub fn is_ours(ingress: &Ingress, classes: &[Arc<IngressClass>]) -> bool {
    let named = ingress.spec.as_ref().and_then(|s| s.ingress_class_name.as_deref());
    let legacy = ingress.annotations().get(LEGACY_CLASS).map(String::as_str);
    let ours = |class: &IngressClass| class.spec.as_ref().and_then(|s| s.controller.as_deref()) == Some(CONTROLLER);
    match named.or(legacy) {
        Some(name) => classes.iter().any(|c| c.name_any() == name && ours(c)) || (named.is_none() && name == CLASS),
        None => classes.iter().any(|c| ours(c) && c.annotations().get(DEFAULT_CLASS).is_some_and(|v| v == "true")),
    }
}

type Known = HashMap<(String, String, String), Arc<Backend>>;

/// A backend that is no Service, or whose Service or port does not exist, still takes its path: it is
/// answered 503 and does not fall through to somebody else's.
fn backend_of(objects: &Objects, known: &mut Known, namespace: &str, backend: &IngressBackend) -> Option<Arc<Backend>> {
    let Some(reference) = &backend.service else { return Some(Arc::new(Backend::new(Vec::new(), false))) };
    let wanted = reference.port.as_ref();
    let text = wanted.map(|p| p.name.clone().unwrap_or_else(|| p.number.unwrap_or_default().to_string())).unwrap_or_default();
    let key = (namespace.to_string(), reference.name.clone(), text);
    if let Some(found) = known.get(&key) {
        return Some(found.clone());
    }
    let object = (namespace.to_string(), reference.name.clone());
    let ports = objects.services.get(&object).and_then(|s| s.spec.as_ref()).and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let port = ports.iter().find(|port| match wanted {
        Some(wanted) => wanted.name.is_some() && port.name == wanted.name || wanted.number == Some(port.port),
        None => ports.len() == 1,
    });
    let slices = objects.slices.get(&object).map(Vec::as_slice).unwrap_or_default();
    let (endpoints, h2c) = match port {
        Some(port) => (endpoints_of(slices, port.name.as_deref().unwrap_or("")), port.app_protocol.as_deref() == Some("kubernetes.io/h2c")),
        None => (Vec::new(), false),
    };
    let found = Arc::new(Backend::new(endpoints, h2c));
    known.insert(key, found.clone());
    Some(found)
}

/// Ready endpoints; where none is, those that still serve while they terminate (KEP-1669).
fn endpoints_of(slices: &[Arc<EndpointSlice>], port_name: &str) -> Vec<SocketAddr> {
    let mut ready = Vec::new();
    let mut leaving = Vec::new();
    for slice in slices.iter().filter(|s| s.address_type != "FQDN") {
        let named = slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or("") == port_name);
        let Some(port) = named.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            let address = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok());
            let Some(address) = address.map(|ip| SocketAddr::new(ip, port)) else { continue };
            if conditions.and_then(|c| c.ready).unwrap_or(true) {
                ready.push(address);
            } else if conditions.is_some_and(|c| c.serving == Some(true) && c.terminating == Some(true)) {
                leaving.push(address);
            }
        }
    }
    let mut endpoints = if ready.is_empty() { leaving } else { ready };
    endpoints.sort();
    endpoints.dedup();
    endpoints
}

#[cfg(test)]
mod tests;

//! Node ports. A port is taken by making a record of it in the store, which only one of many servers can; from then on
//! until its Service is gone it is that Service's. Ports of Services that have no record are taken as well.

use super::kind;
use super::port_records::{Record, give_up, take};
use crate::admission::Request;
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, GroupResource, value};
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

/// TCP and UDP of one number can belong to one Service only, as upstream has it.
pub struct Ports {
    range: RangeInclusive<u16>,
}

fn wants(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => value::at(service, &["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

fn wants_health(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && value::text(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

/// The node ports that a Service has.
pub fn ports(service: &Value) -> Vec<i64> {
    let own = value::items(service, &["spec", "ports"]).iter().filter_map(|p| value::int(p, &["nodePort"]));
    own.chain(value::int(service, &["spec", "healthCheckNodePort"])).filter(|p| *p != 0).collect()
}

pub fn clear(service: &mut Value) {
    for port in value::items_mut(service, &["spec", "ports"]) {
        value::remove(port, &["nodePort"]);
    }
}

/// The ports that an update does not mention stay.
pub fn carry(service: &mut Value, old: &Value) {
    if matches!(kind(service), "NodePort" | "LoadBalancer") && matches!(kind(old), "NodePort" | "LoadBalancer") {
        let taken: HashSet<i64> = ports(service).into_iter().collect();
        for port in value::items_mut(service, &["spec", "ports"]) {
            let protocol = |p: &Value| match value::text(p, &["protocol"]) {
                "" => "TCP".to_string(),
                p => p.to_string(),
            };
            let same = |o: &&Value| value::int(o, &["port"]) == value::int(port, &["port"]) && protocol(o) == protocol(port);
            if value::int(port, &["nodePort"]).unwrap_or(0) != 0 {
                continue;
            }
            let kept = value::items(old, &["spec", "ports"]).iter().find(same).and_then(|o| value::int(o, &["nodePort"]));
            if let Some(kept) = kept.filter(|k| *k != 0 && !taken.contains(k)) {
                value::set(port, &["nodePort"], kept);
            }
        }
    } else if kind(service) == "ClusterIP" && kind(old) != "ClusterIP" {
        // Those of the old type go with it, unless they are asked for (which validation refuses).
        let had: HashSet<i64> = ports(old).into_iter().collect();
        for port in value::items_mut(service, &["spec", "ports"]) {
            if value::int(port, &["nodePort"]).is_some_and(|p| had.contains(&p)) {
                value::remove(port, &["nodePort"]);
            }
        }
    }
    if wants_health(service) && wants_health(old) && value::int(service, &["spec", "healthCheckNodePort"]).unwrap_or(0) == 0 {
        value::carry(service, old, &["spec", "healthCheckNodePort"]);
    }
    if !wants_health(service) && wants_health(old) {
        value::remove(service, &["spec", "healthCheckNodePort"]);
    }
}

impl Ports {
    pub fn new(range: RangeInclusive<u16>) -> Self {
        Self { range }
    }

    /// Gives a Service the ports that it asks for and those that it needs.
    pub async fn give(&self, request: &Request<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let mut taken = Vec::new();
        let given = self.choose(request, service, old, &mut taken).await;
        if given.is_err() && !request.dry_run {
            for port in taken {
                // The sweep frees what this does not.
                let _ = give_up(&**request.server.store(), port, value::text(service, &["metadata", "uid"])).await;
            }
        }
        given
    }

    /// `taken` gets the ports whose record was made here.
    async fn choose(&self, request: &Request<'_>, service: &mut Value, old: Option<&Value>, taken: &mut Vec<i64>) -> Result<(), ApiError> {
        let (node_ports, health) = (wants(service), wants_health(service));
        if !node_ports && !health && ports(service).is_empty() {
            return Ok(());
        }
        let owner = Record::of(&request.attributes.namespace, service);
        let mut used = HashSet::new();
        for other in request.server.objects().list(&GroupResource::new("", "services"), None) {
            if (other.namespace(), other.name()) != (owner.namespace.as_str(), owner.name.as_str()) {
                used.extend(ports(&other.value()));
            }
        }
        let before: HashSet<i64> = old.map(ports).unwrap_or_default().into_iter().collect();
        let mut search = Search { request, owner, used, given: Vec::new(), taken };
        let mut errors = FieldErrors::new();
        for (port, path) in asked(service, node_ports, health) {
            if before.contains(&port) || search.given.contains(&port) {
                search.given.push(port);
                continue;
            }
            if !u16::try_from(port).is_ok_and(|p| self.range.contains(&p)) {
                let (first, last) = (self.range.start(), self.range.end());
                let why = format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
                errors.invalid(&path, port, &why);
            } else if !search.take(port).await? {
                errors.invalid(&path, port, "provided port is already allocated");
            }
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(&GroupKind::new("", "Service"), &search.owner.name, &errors));
        }
        let mut chosen: HashMap<(i64, String), i64> = HashMap::new();
        for i in if node_ports { unset(service) } else { Vec::new() } {
            let port = &value::items(service, &["spec", "ports"])[i];
            // One number serves the same port of another protocol.
            let (number, protocol) = (value::int(port, &["port"]).unwrap_or(0), value::text(port, &["protocol"]).to_string());
            let sibling = chosen.iter().find(|((n, p), _)| *n == number && *p != protocol).map(|(_, c)| *c);
            let free = match sibling {
                Some(port) => port,
                None => search.any(&self.range).await?,
            };
            chosen.insert((number, protocol), free);
            value::set(&mut value::items_mut(service, &["spec", "ports"])[i], &["nodePort"], json!(free));
        }
        if health && value::int(service, &["spec", "healthCheckNodePort"]).unwrap_or(0) == 0 {
            value::set(service, &["spec", "healthCheckNodePort"], json!(search.any(&self.range).await?));
        }
        Ok(())
    }
}

/// The ports that a Service names, and where.
fn asked(service: &Value, node_ports: bool, health: bool) -> Vec<(i64, FieldPath)> {
    let mut asked = Vec::new();
    for (i, port) in value::items(service, &["spec", "ports"]).iter().enumerate() {
        if let Some(port) = value::int(port, &["nodePort"]).filter(|p| *p != 0 && node_ports) {
            asked.push((port, FieldPath::new("spec").child("ports").index(i).child("nodePort")));
        }
    }
    if let Some(port) = value::int(service, &["spec", "healthCheckNodePort"]).filter(|p| *p != 0 && health) {
        asked.push((port, FieldPath::new("spec.healthCheckNodePort")));
    }
    asked
}

/// Which of a Service's ports still need a number.
fn unset(service: &Value) -> Vec<usize> {
    let ports = value::items(service, &["spec", "ports"]).iter().enumerate();
    ports.filter(|(_, p)| value::int(p, &["nodePort"]).unwrap_or(0) == 0).map(|(i, _)| i).collect()
}

/// The search for one Service's ports.
struct Search<'a> {
    request: &'a Request<'a>,
    owner: Record,
    /// What others are known to have.
    used: HashSet<i64>,
    given: Vec<i64>,
    taken: &'a mut Vec<i64>,
}

impl Search<'_> {
    async fn take(&mut self, port: i64) -> Result<bool, ApiError> {
        if self.used.contains(&port) || !take(&**self.request.server.store(), port, &self.owner, self.request.dry_run).await? {
            self.used.insert(port);
            return Ok(false);
        }
        self.given.push(port);
        self.taken.push(port);
        Ok(true)
    }

    async fn any(&mut self, range: &RangeInclusive<u16>) -> Result<i64, ApiError> {
        let start = i64::from(*range.start());
        let size = i64::from(*range.end()) - start + 1;
        let first = rand::rng().random_range(0..size.max(1));
        for port in (0..size).map(|i| start + (first + i) % size) {
            if !self.used.contains(&port) && !self.given.contains(&port) && self.take(port).await? {
                return Ok(port);
            }
        }
        Err(ApiError::internal("failed to allocate a nodePort: range is full"))
    }
}

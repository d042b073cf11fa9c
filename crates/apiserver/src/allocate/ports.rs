//! Node ports.

use super::kind;
use crate::admission::Request;
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, GroupResource, value};
use parking_lot::Mutex;
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// By then a port that was given shows in its Service, or the write has failed and it is free.
const HELD: Duration = Duration::from_secs(10);

type Owner = (String, String);
/// TCP and UDP of one number can belong to one Service only, as upstream has it.
pub struct Ports {
    range: RangeInclusive<u16>,
    recent: Mutex<HashMap<i64, (Instant, Owner)>>,
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

fn ports(service: &Value) -> Vec<i64> {
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
        Self { range, recent: Mutex::default() }
    }

    /// The ports of a Service that is deleted are for the next as soon as it is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.recent.lock().retain(|_, (_, (n, s))| (n.as_str(), s.as_str()) != (namespace, name));
    }

    pub fn give(&self, request: &Request<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        let (node_ports, health) = (wants(service), wants_health(service));
        if !node_ports && !health && ports(service).is_empty() {
            return Ok(());
        }
        let owner = (request.attributes.namespace.clone(), value::text(service, &["metadata", "name"]).to_string());
        let mut recent = self.recent.lock();
        recent.retain(|_, (since, _)| since.elapsed() < HELD);
        let mut used: HashSet<i64> = recent.iter().filter(|(_, (_, o))| *o != owner).map(|(p, _)| *p).collect();
        for other in request.server.objects().list(&GroupResource::new("", "services"), None) {
            if (other.namespace(), other.name()) != (owner.0.as_str(), owner.1.as_str()) {
                used.extend(ports(&other.value()));
            }
        }
        let before: HashSet<i64> = old.map(ports).unwrap_or_default().into_iter().collect();
        let mut given: Vec<i64> = Vec::new();
        let mut errors = FieldErrors::new();
        let check = |port: i64, path: FieldPath, errors: &mut FieldErrors| {
            if before.contains(&port) {
                return;
            }
            if !u16::try_from(port).is_ok_and(|p| self.range.contains(&p)) {
                let why = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    self.range.start(),
                    self.range.end()
                );
                errors.invalid(&path, port, &why);
            } else if used.contains(&port) {
                errors.invalid(&path, port, "provided port is already allocated");
            }
        };
        for (i, port) in value::items(service, &["spec", "ports"]).iter().enumerate() {
            if let Some(port) = value::int(port, &["nodePort"]).filter(|p| *p != 0 && node_ports) {
                check(port, FieldPath::new("spec").child("ports").index(i).child("nodePort"), &mut errors);
                given.push(port);
            }
        }
        let wanted_health = value::int(service, &["spec", "healthCheckNodePort"]).unwrap_or(0);
        if health && wanted_health != 0 {
            check(wanted_health, FieldPath::new("spec.healthCheckNodePort"), &mut errors);
            given.push(wanted_health);
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(&GroupKind::new("", "Service"), &owner.1, &errors));
        }
        let full = || ApiError::internal("failed to allocate a nodePort: range is full");
        let mut chosen: HashMap<(i64, String), i64> = HashMap::new();
        if node_ports {
            for port in value::items_mut(service, &["spec", "ports"]) {
                if value::int(port, &["nodePort"]).unwrap_or(0) != 0 {
                    continue;
                }
                // One number serves the same port of another protocol.
                let number = value::int(port, &["port"]).unwrap_or(0);
                let protocol = value::text(port, &["protocol"]).to_string();
                let sibling = chosen.iter().find(|((n, p), _)| *n == number && *p != protocol).map(|(_, c)| *c);
                let free = sibling.or_else(|| self.free(&used, &given)).ok_or_else(full)?;
                chosen.insert((number, protocol), free);
                given.push(free);
                value::set(port, &["nodePort"], json!(free));
            }
        }
        if health && wanted_health == 0 {
            let free = self.free(&used, &given).ok_or_else(full)?;
            given.push(free);
            value::set(service, &["spec", "healthCheckNodePort"], json!(free));
        }
        if !request.dry_run {
            let now = Instant::now();
            recent.extend(given.into_iter().map(|p| (p, (now, owner.clone()))));
        }
        Ok(())
    }

    fn free(&self, used: &HashSet<i64>, given: &[i64]) -> Option<i64> {
        let start = i64::from(*self.range.start());
        let size = i64::from(*self.range.end()) - start + 1;
        let first = rand::rng().random_range(0..size.max(1));
        (0..size).map(|i| start + (first + i) % size).find(|p| !used.contains(p) && !given.contains(p))
    }
}

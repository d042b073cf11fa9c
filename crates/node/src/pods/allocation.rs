//! What of the node its pods hold. A pod is refused that does not fit, whoever placed it, and so is
//! a resize; the words are those of upstream's `pkg/kubelet/lifecycle/predicate.go`.

use client::host_ports::{HostPort, host_ports};
use client::requests::{self, Amounts};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::watch;

const CRITICAL: i32 = 2_000_000_000;
/// What a port of the node is called where it is what is missing.
const PORTS: &str = "NodePorts";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub resource: String,
    /// It would not fit on the empty node either.
    pub never: bool,
    pub message: String,
}

impl Refusal {
    pub fn reason(&self) -> String {
        if self.resource == PORTS { PORTS.to_string() } else { format!("OutOf{}", self.resource) }
    }
}

/// What one pod has of the node.
struct Held {
    amounts: Amounts,
    ports: Vec<HostPort>,
}

pub struct Allocations {
    capacity: Amounts,
    pods: Mutex<HashMap<String, Held>>,
    /// Counts every time that something was given back.
    freed: watch::Sender<u64>,
}

impl Allocations {
    pub fn new(capacity: Amounts) -> Self {
        Self { capacity, pods: Mutex::default(), freed: watch::Sender::new(0) }
    }

    /// What runs already holds what it has, fit or not.
    pub fn hold(&self, pod: &Pod) {
        drop(self.pods.lock().insert(uid(pod), Held::of(pod)));
    }

    /// Gives the pod what it asks for, in place of what it held, if the node has it.
    pub fn take(&self, pod: &Pod) -> Result<(), Refusal> {
        let (uid, wanted) = (uid(pod), Held::of(pod));
        let mut pods = self.pods.lock();
        let mut used = Amounts::default();
        pods.iter().filter(|(other, _)| **other != uid).for_each(|(_, held)| used.add(&held.amounts));
        // What the node is made of makes room for by other means.
        let critical = pod.spec.as_ref().and_then(|s| s.priority).is_some_and(|p| p >= CRITICAL);
        if !critical {
            self.fits(&wanted.amounts, &used)?;
        }
        let mut others = pods.iter().filter(|(other, _)| **other != uid).flat_map(|(_, held)| &held.ports);
        if others.any(|other| wanted.ports.iter().any(|port| port.conflicts(other))) {
            let message = format!("Predicate {PORTS} failed: node(s) didn't have free ports for the requested pod ports");
            return Err(Refusal { resource: PORTS.into(), never: false, message });
        }
        let now = wanted.amounts.clone();
        let before = pods.insert(uid, wanted);
        drop(pods);
        if before.is_some_and(|b| b.amounts.0.iter().any(|(name, amount)| *amount > now.get(name))) {
            self.freed.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    fn fits(&self, wanted: &Amounts, used: &Amounts) -> Result<(), Refusal> {
        for (name, capacity) in &self.capacity.0 {
            let requested = wanted.get(name);
            if requested <= 0 {
                continue;
            }
            let (resource, used) = (name.clone(), used.get(name));
            if requested > *capacity {
                let message = format!("Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}");
                return Err(Refusal { resource, never: true, message });
            }
            if used.saturating_add(requested) > *capacity {
                let message =
                    format!("Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}");
                return Err(Refusal { resource, never: false, message });
            }
        }
        Ok(())
    }

    pub fn release(&self, uid: &str) {
        if self.pods.lock().remove(uid).is_some() {
            self.freed.send_modify(|n| *n += 1);
        }
    }

    pub fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

impl Held {
    fn of(pod: &Pod) -> Self {
        let mut amounts = pod.spec.as_ref().map(requests::of_pod).unwrap_or_default();
        amounts.0.insert("pods".into(), 1);
        Self { amounts, ports: host_ports(pod) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, cpu: &str) -> Pod {
        let container = json!({"name": "a", "resources": {"requests": {"cpu": cpu}}});
        serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": {"containers": [container]}})).expect("a pod")
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_until_another_gives_back() {
        let node = Allocations::new(Amounts([("cpu".to_string(), 2000), ("pods".to_string(), 2)].into()));
        let freed = node.freed();
        assert_eq!(node.take(&pod("a", "1500m")), Ok(()));
        let never = node.take(&pod("b", "3")).unwrap_err();
        assert_eq!((never.never, never.message.as_str()), (true, "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"));
        let later = node.take(&pod("b", "1")).unwrap_err();
        let words = "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000";
        assert_eq!((later.never, later.message.as_str()), (false, words));
        assert!(!freed.has_changed().unwrap());
        assert_eq!(node.take(&pod("a", "1")), Ok(()), "its own share does not stand in a pod's way");
        assert!(freed.has_changed().unwrap());
        assert_eq!(node.take(&pod("b", "1")), Ok(()));
        assert_eq!(node.take(&pod("c", "0")).unwrap_err().resource, "pods");
        node.release("a");
        assert_eq!(node.take(&pod("c", "0")), Ok(()));
    }

    #[test]
    fn a_port_of_the_node_is_one_pods_at_each_address() {
        let node = Allocations::new(Amounts([("pods".to_string(), 9)].into()));
        let pod = |uid: &str, address: &str, protocol: &str| -> Pod {
            let port = json!({"containerPort": 80, "hostPort": 8080, "hostIP": address, "protocol": protocol});
            let container = json!({"name": "a", "ports": [port]});
            serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": {"containers": [container]}})).expect("a pod")
        };
        assert_eq!(node.take(&pod("a", "10.0.0.1", "TCP")), Ok(()));
        assert_eq!(node.take(&pod("b", "10.0.0.2", "TCP")), Ok(()));
        assert_eq!(node.take(&pod("c", "10.0.0.1", "UDP")), Ok(()));
        for address in ["10.0.0.1", ""] {
            assert_eq!(node.take(&pod("d", address, "TCP")).map_err(|r| r.reason()), Err("NodePorts".to_string()));
        }
        node.release("a");
        assert_eq!(node.take(&pod("d", "10.0.0.1", "TCP")), Ok(()));
    }
}

//! The nodes as one scheduling cycle sees them.

use crate::resources;
use client::host_ports::{HostPort, host_ports};
use client::requests::Amounts;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One node, and the pods that are or are about to be on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub node: Arc<Node>,
    pub pods: Vec<Arc<Pod>>,
    pub allocatable: Amounts,
    pub requested: Amounts,
    /// Cpu and memory with the defaults of pods that ask for nothing.
    pub weight: (i64, i64),
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    pub fn new(node: Arc<Node>) -> Self {
        let allocatable = resources::of_node(&node);
        Self { node, pods: Vec::new(), allocatable, requested: Amounts::default(), weight: (0, 0), ports: Vec::new() }
    }

    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or("")
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub fn add(&mut self, pod: Arc<Pod>) {
        let requests = resources::of_pod(&pod);
        let (cpu, memory) = resources::weight(&requests);
        self.requested.add(&requests);
        self.weight = (self.weight.0 + cpu, self.weight.1 + memory);
        self.ports.extend(host_ports(&pod));
        self.pods.push(pod);
    }

    /// The same node without some pods, for trying what a preemption would give.
    pub fn without(&self, uids: &HashSet<String>) -> Self {
        let mut rest = Self::new(self.node.clone());
        for pod in &self.pods {
            if !uids.contains(&pod.uid().unwrap_or_default()) {
                rest.add(pod.clone());
            }
        }
        rest
    }
}

pub fn finished(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Nodes with their pods. `assumed` are pods that were placed and whose binding the watch has not shown yet.
pub fn snapshot(nodes: Vec<Arc<Node>>, pods: Vec<Arc<Pod>>, assumed: &HashMap<String, (Arc<Pod>, String)>) -> Vec<NodeInfo> {
    let mut infos: Vec<NodeInfo> = nodes.into_iter().map(NodeInfo::new).collect();
    infos.sort_by(|a, b| a.name().cmp(b.name()));
    let index: HashMap<String, usize> = infos.iter().enumerate().map(|(i, n)| (n.name().to_string(), i)).collect();
    let mut seen = HashSet::new();
    for pod in pods {
        let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()).filter(|n| !n.is_empty()) else { continue };
        seen.insert(pod.uid().unwrap_or_default());
        if let Some(i) = index.get(&node).filter(|_| !finished(&pod)) {
            infos[*i].add(pod);
        }
    }
    for (uid, (pod, node)) in assumed {
        if let Some(i) = index.get(node).filter(|_| !seen.contains(uid)) {
            infos[*i].add(pod.clone());
        }
    }
    infos
}

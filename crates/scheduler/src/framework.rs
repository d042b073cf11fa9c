//! What a scheduling plugin sees and answers. A filter says no with a reason, a score says how good a
//! node is; both are pure functions of the cycle's snapshot.

use crate::nodes::NodeInfo;
use crate::resources;
use crate::volumes::Claims;
use client::host_ports::{HostPort, host_ports};
use client::requests::Amounts;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec};
use std::sync::Arc;

/// The pod that is being placed, with what is computed once.
pub struct Cycle {
    pub pod: Arc<Pod>,
    pub spec: PodSpec,
    pub namespace: String,
    pub requests: Amounts,
    pub weight: (i64, i64),
    pub ports: Vec<HostPort>,
    pub claims: Claims,
    pub namespaces: Vec<Arc<Namespace>>,
}

impl Cycle {
    pub fn new(pod: Arc<Pod>, claims: Claims, namespaces: Vec<Arc<Namespace>>) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let requests = resources::of_pod(&pod);
        let (weight, ports) = (resources::weight(&requests), host_ports(&pod));
        Self { pod, spec, namespace, requests, weight, ports, claims, namespaces }
    }
}

/// Why a node will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub reason: String,
    /// Taking pods off the node could change the answer.
    pub preemptible: bool,
}

impl Reject {
    /// Nothing that runs there is the cause.
    pub fn node(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), preemptible: false }
    }

    /// What runs there is the cause.
    pub fn pods(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), preemptible: true }
    }
}

pub const MAX_SCORE: i64 = 100;

pub trait Plugin: Send + Sync {
    /// All that is wrong with a node; empty where it will do.
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, all: &[NodeInfo]) -> Vec<Reject> {
        let _ = (cycle, node, all);
        Vec::new()
    }

    /// A score per node, 0 to [`MAX_SCORE`], or none where this plugin has no preference.
    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], all: &[NodeInfo]) -> Option<Vec<i64>> {
        let _ = (cycle, nodes, all);
        None
    }

    fn weight(&self) -> i64 {
        1
    }
}

/// Brings raw scores to 0..=100, the highest (or, reversed, the lowest) becoming 100.
pub fn normalize(scores: &[i64], reverse: bool) -> Vec<i64> {
    let max = scores.iter().copied().max().unwrap_or(0);
    scores
        .iter()
        .map(|s| {
            let scaled = if max == 0 { 0 } else { s * MAX_SCORE / max };
            if reverse { MAX_SCORE - scaled } else { scaled }
        })
        .collect()
}

//! Topology spread constraints, and the gentle spreading of a controller's pods where a pod has none.

use super::node_affinity;
use crate::framework::{Cycle, Plugin, Reject, normalize};
use crate::nodes::NodeInfo;
use crate::selector::Pods;
use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use std::collections::HashMap;

pub struct Spread;

/// Matching pods per domain, over the nodes that the pod may be on at all.
fn counts<'a>(cycle: &Cycle, constraint: &TopologySpreadConstraint, all: &'a [NodeInfo]) -> HashMap<&'a str, i64> {
    let pods = Pods::new(constraint.label_selector.as_ref());
    let honours_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let mut counts = HashMap::new();
    for node in all.iter().filter(|n| !honours_affinity || node_affinity::allowed(cycle, n)) {
        let Some(domain) = node.label(&constraint.topology_key) else { continue };
        *counts.entry(domain).or_insert(0) += node.pods.iter().filter(|p| counted(cycle, &pods, p)).count() as i64;
    }
    counts
}

fn counted(cycle: &Cycle, selector: &Pods, pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.metadata.namespace.as_deref() == Some(cycle.namespace.as_str())
        && selector.matches(pod.metadata.labels.as_ref())
}

/// Upstream's `PodTopologySpread`.
impl Plugin for Spread {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, all: &[NodeInfo]) -> Vec<Reject> {
        let constraints = cycle.spec.topology_spread_constraints.as_deref().unwrap_or_default();
        for constraint in constraints.iter().filter(|c| c.when_unsatisfiable == "DoNotSchedule") {
            let Some(domain) = node.label(&constraint.topology_key) else {
                return vec![Reject::node("node(s) didn't match pod topology spread constraints (missing required label)")];
            };
            let counts = counts(cycle, constraint, all);
            let domains = counts.len() as i32;
            let min = if constraint.min_domains.is_some_and(|m| domains < m) { 0 } else { counts.values().copied().min().unwrap_or(0) };
            let itself = i64::from(Pods::new(constraint.label_selector.as_ref()).matches(cycle.pod.metadata.labels.as_ref()));
            let here = counts.get(domain).copied().unwrap_or(0);
            if here + itself - min > i64::from(constraint.max_skew) {
                return vec![Reject::pods("node(s) didn't match pod topology spread constraints")];
            }
        }
        Vec::new()
    }

    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], all: &[NodeInfo]) -> Option<Vec<i64>> {
        let soft: Vec<&TopologySpreadConstraint> =
            cycle.spec.topology_spread_constraints.iter().flatten().filter(|c| c.when_unsatisfiable == "ScheduleAnyway").collect();
        let raw: Vec<i64> = if soft.is_empty() {
            let owner = controller(&cycle.pod)?;
            nodes.iter().map(|n| n.pods.iter().filter(|p| controller(p) == Some(owner)).count() as i64).collect()
        } else {
            let counted: Vec<(&str, HashMap<&str, i64>)> = soft.iter().map(|c| (c.topology_key.as_str(), counts(cycle, c, all))).collect();
            nodes.iter().map(|n| counted.iter().filter_map(|(key, counts)| counts.get(n.label(key)?)).sum()).collect()
        };
        Some(normalize(&raw, true))
    }

    fn weight(&self) -> i64 {
        2
    }
}

fn controller(pod: &Pod) -> Option<&str> {
    pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true)).map(|o| o.uid.as_str())
}

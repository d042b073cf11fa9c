//! Which nodes a pod names, needs, or would like.

use crate::framework::{Cycle, Plugin, Reject, normalize};
use crate::nodes::NodeInfo;
use crate::selector;

pub struct NodeName;
pub struct NodeAffinity;

/// Upstream's `NodeName`.
impl Plugin for NodeName {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        match cycle.spec.node_name.as_deref() {
            Some(name) if !name.is_empty() && name != node.name() => vec![Reject::node("node(s) didn't match the requested node name")],
            _ => Vec::new(),
        }
    }
}

/// The pod's `nodeSelector` and required node affinity.
pub fn allowed(cycle: &Cycle, node: &NodeInfo) -> bool {
    let selected = cycle.spec.node_selector.iter().flatten().all(|(key, value)| node.label(key) == Some(value.as_str()));
    let affinity = cycle.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|r| selector::node_selector(r, node))
}

/// Upstream's `NodeAffinity`.
impl Plugin for NodeAffinity {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        if allowed(cycle, node) { Vec::new() } else { vec![Reject::node("node(s) didn't match Pod's node affinity/selector")] }
    }

    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], _: &[NodeInfo]) -> Option<Vec<i64>> {
        let affinity = cycle.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let preferred = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())?;
        let sum =
            |node: &NodeInfo| preferred.iter().filter(|p| selector::node_term(&p.preference, node)).map(|p| i64::from(p.weight)).sum();
        Some(normalize(&nodes.iter().map(|n| sum(n)).collect::<Vec<i64>>(), false))
    }

    fn weight(&self) -> i64 {
        2
    }
}

//! Whether a node has what a pod asks for, and which would be left least or most evenly used.

use crate::framework::{Cycle, MAX_SCORE, Plugin, Reject};
use crate::nodes::NodeInfo;

pub struct Fit;
pub struct Balanced;

/// Upstream's `NodeResourcesFit`.
impl Plugin for Fit {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        let mut rejects = Vec::new();
        let pods = node.allocatable.get("pods");
        if node.pods.len() as i64 + 1 > pods {
            rejects.push(Reject::pods("Too many pods"));
        }
        for (name, wanted) in &cycle.requests.0 {
            if *wanted > 0 && *wanted > node.allocatable.get(name).saturating_sub(node.requested.get(name)) {
                // What the whole node does not have, no preemption frees.
                let preemptible = *wanted <= node.allocatable.get(name);
                rejects.push(Reject { reason: format!("Insufficient {name}"), preemptible });
            }
        }
        rejects
    }

    /// The more is left, the better.
    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], _: &[NodeInfo]) -> Option<Vec<i64>> {
        let left = |allocatable: i64, used: i64| {
            if allocatable <= 0 || used > allocatable { 0 } else { (allocatable - used) * MAX_SCORE / allocatable }
        };
        Some(
            nodes
                .iter()
                .map(|n| {
                    let cpu = left(n.allocatable.get("cpu"), n.weight.0 + cycle.weight.0);
                    let memory = left(n.allocatable.get("memory"), n.weight.1 + cycle.weight.1);
                    (cpu + memory) / 2
                })
                .collect(),
        )
    }
}

/// Upstream's `NodeResourcesBalancedAllocation`.
impl Plugin for Balanced {
    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], _: &[NodeInfo]) -> Option<Vec<i64>> {
        let share = |allocatable: i64, used: i64| if allocatable <= 0 { 1.0 } else { (used as f64 / allocatable as f64).min(1.0) };
        Some(
            nodes
                .iter()
                .map(|n| {
                    let cpu = share(n.allocatable.get("cpu"), n.weight.0 + cycle.weight.0);
                    let memory = share(n.allocatable.get("memory"), n.weight.1 + cycle.weight.1);
                    ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i64
                })
                .collect(),
        )
    }
}

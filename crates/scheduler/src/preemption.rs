//! Making room: which node's less important pods would have to go for a pod to fit.

use crate::cycle::filter;
use crate::framework::{Cycle, Plugin, Reject};
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::HashSet;
use std::sync::Arc;

pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)
}

pub struct Plan<'a> {
    pub node: &'a NodeInfo,
    pub victims: Vec<Arc<Pod>>,
}

/// The plan that hurts least: the lowest highest victim, the smallest sum, the fewest victims. Victims
/// are given back one by one, the most important first, as long as the pod still fits.
pub fn plan<'a>(
    plugins: &[Box<dyn Plugin>],
    cycle: &Cycle,
    all: &'a [NodeInfo],
    refused: &[(&'a NodeInfo, Vec<Reject>)],
) -> Option<Plan<'a>> {
    if cycle.spec.preemption_policy.as_deref() == Some("Never") {
        return None;
    }
    let mine = priority(&cycle.pod);
    let mut best: Option<(Vec<i64>, Plan<'a>)> = None;
    for (node, _) in refused.iter().filter(|(_, rejects)| rejects.iter().all(|r| r.preemptible)) {
        let mut lesser: Vec<Arc<Pod>> = node.pods.iter().filter(|p| priority(p) < mine).cloned().collect();
        if lesser.is_empty() {
            continue;
        }
        let mut gone: HashSet<String> = lesser.iter().map(|p| p.uid().unwrap_or_default()).collect();
        if !filter(plugins, cycle, &node.without(&gone), all).is_empty() {
            continue;
        }
        lesser.sort_by_key(|p| std::cmp::Reverse(priority(p)));
        let mut victims = Vec::new();
        for pod in lesser {
            let uid = pod.uid().unwrap_or_default();
            gone.remove(&uid);
            if !filter(plugins, cycle, &node.without(&gone), all).is_empty() {
                gone.insert(uid);
                victims.push(pod);
            }
        }
        let highest = victims.iter().map(|p| i64::from(priority(p))).max().unwrap_or(i64::MIN);
        let cost = vec![highest, victims.iter().map(|p| i64::from(priority(p))).sum(), victims.len() as i64];
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, Plan { node, victims }));
        }
    }
    best.map(|(_, plan)| plan)
}

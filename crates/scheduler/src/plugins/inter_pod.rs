//! Pods that want to be near others, or away from them.

use crate::framework::{Cycle, MAX_SCORE, Plugin, Reject};
use crate::nodes::NodeInfo;
use crate::selector::Pods;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodAffinityTerm};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub struct InterPod;

/// A term, ready to be held against pods. `owner` is the namespace of the pod whose term it is.
struct Term<'a> {
    topology: &'a str,
    pods: Pods,
    namespaces: HashSet<String>,
}

impl<'a> Term<'a> {
    fn new(term: &'a PodAffinityTerm, owner: &str, all: &[Arc<Namespace>]) -> Self {
        let mut namespaces: HashSet<String> = term.namespaces.iter().flatten().cloned().collect();
        match &term.namespace_selector {
            Some(selector) => {
                let selector = Pods::new(Some(selector));
                namespaces
                    .extend(all.iter().filter(|n| selector.matches(n.metadata.labels.as_ref())).filter_map(|n| n.metadata.name.clone()));
            }
            None if namespaces.is_empty() => {
                namespaces.insert(owner.to_string());
            }
            None => {}
        }
        Self { topology: &term.topology_key, pods: Pods::new(term.label_selector.as_ref()), namespaces }
    }

    fn matches(&self, pod: &Pod) -> bool {
        pod.metadata.namespace.as_ref().is_some_and(|n| self.namespaces.contains(n)) && self.pods.matches(pod.metadata.labels.as_ref())
    }
}

fn affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref()).and_then(|a| a.pod_affinity.as_ref());
    affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

fn anti_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref()).and_then(|a| a.pod_anti_affinity.as_ref());
    affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

fn owner(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("")
}

/// Whether a pod that satisfies `matches` runs in the same domain as `node`.
fn near(topology: &str, node: &NodeInfo, all: &[NodeInfo], matches: impl Fn(&Pod) -> bool) -> bool {
    let Some(domain) = node.label(topology) else { return false };
    all.iter().filter(|n| n.label(topology) == Some(domain)).any(|n| {
        let pods = if n.name() == node.name() { &node.pods } else { &n.pods };
        pods.iter().any(|p| matches(p))
    })
}

/// Upstream's `InterPodAffinity`.
impl Plugin for InterPod {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, all: &[NodeInfo]) -> Vec<Reject> {
        for term in affinity(&cycle.pod) {
            let term = Term::new(term, &cycle.namespace, &cycle.namespaces);
            if near(term.topology, node, all, |p| term.matches(p)) {
                continue;
            }
            // The first of a group that wants to be together must be able to start somewhere.
            let first =
                term.matches(&cycle.pod) && !all.iter().any(|n| n.label(term.topology).is_some() && n.pods.iter().any(|p| term.matches(p)));
            if !first || node.label(term.topology).is_none() {
                return vec![Reject::node("node(s) didn't match pod affinity rules")];
            }
        }
        for term in anti_affinity(&cycle.pod) {
            let term = Term::new(term, &cycle.namespace, &cycle.namespaces);
            if near(term.topology, node, all, |p| term.matches(p)) {
                return vec![Reject::pods("node(s) didn't match pod anti-affinity rules")];
            }
        }
        for other in all {
            let pods = if other.name() == node.name() { &node.pods } else { &other.pods };
            for pod in pods.iter().filter(|p| !anti_affinity(p).is_empty()) {
                for term in anti_affinity(pod) {
                    let same =
                        other.label(&term.topology_key).is_some() && other.label(&term.topology_key) == node.label(&term.topology_key);
                    if same && Term::new(term, owner(pod), &cycle.namespaces).matches(&cycle.pod) {
                        return vec![Reject::pods("node(s) didn't satisfy existing pods anti-affinity rules")];
                    }
                }
            }
        }
        Vec::new()
    }

    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], all: &[NodeInfo]) -> Option<Vec<i64>> {
        let affinity = cycle.spec.affinity.as_ref();
        let near =
            affinity.and_then(|a| a.pod_affinity.as_ref()).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        let away = affinity
            .and_then(|a| a.pod_anti_affinity.as_ref())
            .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        if near.is_none() && away.is_none() {
            return None;
        }
        let mut domains: HashMap<(&str, &str), i64> = HashMap::new();
        for (terms, sign) in [(near, 1), (away, -1)] {
            for weighted in terms.into_iter().flatten() {
                let term = Term::new(&weighted.pod_affinity_term, &cycle.namespace, &cycle.namespaces);
                for node in all {
                    let Some(domain) = node.label(term.topology) else { continue };
                    let count = node.pods.iter().filter(|p| term.matches(p)).count() as i64;
                    *domains.entry((term.topology, domain)).or_insert(0) += sign * i64::from(weighted.weight) * count;
                }
            }
        }
        let raw: Vec<i64> = nodes
            .iter()
            .map(|n| domains.iter().filter(|((key, domain), _)| n.label(key) == Some(*domain)).map(|(_, score)| score).sum())
            .collect();
        let (min, max) = (raw.iter().copied().min().unwrap_or(0), raw.iter().copied().max().unwrap_or(0));
        Some(raw.iter().map(|s| if max > min { (s - min) * MAX_SCORE / (max - min) } else { 0 }).collect())
    }

    fn weight(&self) -> i64 {
        2
    }
}

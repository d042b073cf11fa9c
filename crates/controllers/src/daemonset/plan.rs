//! On which nodes a DaemonSet's pod belongs, and which old pods make room for new ones.

use crate::pods;
use crate::tolerations::tolerates;
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What keeps a DaemonSet's pods on nodes that are in trouble.
pub fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        all.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    let toleration = |(key, effect): (&str, &str)| Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some(effect.into()),
        ..Toleration::default()
    };
    all.into_iter().map(toleration).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub run: bool,
    /// A pod that is there may stay.
    pub stay: bool,
}

/// Whether the pod belongs on the node. `spec` has the tolerations of [`tolerations`] already.
pub fn place(spec: &PodSpec, node: &Node) -> Place {
    let named = spec.node_name.as_deref().filter(|n| !n.is_empty());
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| node.labels().get(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let fits = required.is_none_or(|r| r.node_selector_terms.iter().any(|t| term(t, node)));
    if named.is_some_and(|n| n != node.name_any()) || !selected || !fits {
        return Place { run: false, stay: false };
    }
    let taints = || node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let tolerated = |taint: &Taint| spec.tolerations.iter().flatten().any(|t| tolerates(t, taint));
    let repels = |effect: &str| taints().any(|t| t.effect == effect && !tolerated(t));
    let driven_out = repels("NoExecute");
    Place { run: !driven_out && !repels("NoSchedule"), stay: !driven_out }
}

fn term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.name_any();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|e| holds(e, node.labels().get(&e.key).map(String::as_str)))
        && fields.iter().all(|f| holds(f, (f.key == "metadata.name").then_some(name.as_str())))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let named = || value.is_some_and(|v| values.iter().any(|x| x == v));
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => named(),
        "NotIn" => !named(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(v, than)| v > than),
        "Lt" => numbers().is_some_and(|(v, than)| v < than),
        _ => false,
    }
}

/// The node a pod is on, or is bound for.
pub fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(name) = spec.node_name.as_ref().filter(|n| !n.is_empty()) {
        return Some(name.clone());
    }
    let required = spec.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut fields = required.node_selector_terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    let field = fields.find(|f| f.key == "metadata.name" && f.operator == "In")?;
    field.values.as_ref()?.first().cloned()
}

/// A number, or a percentage of `of`, rounded up.
pub fn scaled(value: Option<&IntOrString>, of: usize) -> Option<usize> {
    match value? {
        IntOrString::Int(n) => usize::try_from(*n).ok(),
        IntOrString::String(text) => {
            let percent: usize = text.strip_suffix('%')?.parse().ok()?;
            Some((of * percent).div_ceil(100))
        }
    }
}

pub struct Rollout<'a> {
    pub hash: &'a str,
    pub min_ready: i32,
    pub max_unavailable: usize,
    pub max_surge: usize,
}

#[derive(Default)]
pub struct Step {
    pub delete: Vec<Arc<Pod>>,
    /// Nodes that get a new pod beside the old one.
    pub surge: Vec<String>,
}

/// The next step of a rolling update; `nodes` has the live pods of each node the set runs on.
pub fn step(nodes: &BTreeMap<String, Vec<Arc<Pod>>>, rollout: &Rollout, label: &str, now: Timestamp) -> Step {
    let mut step = Step::default();
    let mut candidates = Vec::new();
    let (mut unavailable, mut surging) = (0usize, 0usize);
    for (node, live) in nodes {
        let is_new = |p: &&Arc<Pod>| p.labels().get(label).is_some_and(|h| h == rollout.hash);
        let new = live.iter().find(is_new);
        let old: Vec<&Arc<Pod>> = live.iter().filter(|p| !is_new(p)).collect();
        let available = |p: &Arc<Pod>| p.metadata.deletion_timestamp.is_none() && pods::available(p, rollout.min_ready, now);
        let new_there = new.is_some_and(available);
        if old.is_empty() {
            unavailable += usize::from(!new_there);
            continue;
        }
        if rollout.max_surge > 0 {
            surging += usize::from(new.is_some());
            if new_there || (new.is_none() && !old.iter().any(|p| available(p))) {
                // The new one has taken over, or nothing is lost.
                step.delete.extend(old.into_iter().filter(|p| p.metadata.deletion_timestamp.is_none()).cloned());
            } else if new.is_none() {
                step.surge.push(node.clone());
            }
            continue;
        }
        match old.iter().find(|p| available(p)) {
            Some(pod) => candidates.push((*pod).clone()),
            None => {
                unavailable += 1;
                step.delete.extend(old.into_iter().filter(|p| p.metadata.deletion_timestamp.is_none()).cloned());
            }
        }
    }
    step.surge.truncate(rollout.max_surge.saturating_sub(surging));
    step.delete.extend(candidates.into_iter().take(rollout.max_unavailable.saturating_sub(unavailable)));
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, hash: &str, ready: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" };
        let pod =
            json!({"metadata": {"name": name, "labels": {"h": hash}}, "status": {"conditions": [{"type": "Ready", "status": status}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn go(pods: &[(&str, &str, bool)], max_unavailable: usize, max_surge: usize) -> Step {
        let nodes = pods.iter().map(|(n, h, r)| ((*n).to_string(), vec![pod(n, h, *r)])).collect();
        step(&nodes, &Rollout { hash: "new", min_ready: 0, max_unavailable, max_surge }, "h", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_after_the_other_makes_room_and_waits_for_the_new_one() {
        assert_eq!(go(&[("a", "old", true), ("b", "old", true)], 1, 0).delete.len(), 1);
        assert!(go(&[("a", "new", false), ("b", "old", true)], 1, 0).delete.is_empty());
        assert_eq!(go(&[("a", "new", true), ("b", "old", true)], 1, 0).delete[0].name_any(), "b");
    }

    #[test]
    fn a_broken_old_pod_is_replaced_at_once() {
        assert_eq!(go(&[("a", "old", false), ("b", "new", false)], 1, 0).delete[0].name_any(), "a");
    }

    #[test]
    fn a_surge_starts_the_new_pod_before_the_old_one_goes() {
        let step = go(&[("a", "old", true), ("b", "old", true)], 0, 1);
        assert!(step.delete.is_empty());
        assert_eq!(step.surge, ["a"]);
    }

    #[test]
    fn an_untolerated_taint_keeps_new_pods_away_but_only_no_execute_removes_them() {
        let node = |effect: &str| {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "effect": effect}]}})).unwrap()
        };
        assert_eq!(place(&PodSpec::default(), &node("NoSchedule")), Place { run: false, stay: true });
        assert_eq!(place(&PodSpec::default(), &node("NoExecute")), Place { run: false, stay: false });
    }
}

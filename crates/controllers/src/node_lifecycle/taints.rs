//! What taints a node's conditions call for, and how long a pod bears with them.

use crate::tolerations::tolerates;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are true.
const TROUBLES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_deref()?.iter().find(|c| c.type_ == kind)
}

pub fn ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|c| c.status == "True")
}

/// The taints that drive pods out.
pub fn executing(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    taints.filter(|t| t.effect == "NoExecute").cloned().collect()
}

/// The node's taints as its conditions want them, or `None` where they are so. With no node ready at
/// all it is the network or the control plane that is ill, and no pod is driven out.
pub fn wanted(node: &Node, any_ready: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let taint = match condition(node, "Ready").map(|c| c.status.as_str()) {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
        // Its kubelet has not spoken yet: it stays as it was registered.
        None => return None,
    };
    let mut keys: Vec<(&str, &str)> = Vec::new();
    if let Some(key) = taint {
        keys.push((key, "NoSchedule"));
        if any_ready {
            keys.push((key, "NoExecute"));
        }
    }
    keys.extend(
        TROUBLES.iter().filter(|(c, _)| condition(node, c).is_some_and(|c| c.status == "True")).map(|(_, key)| (*key, "NoSchedule")),
    );
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        keys.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |t: &Taint| match t.effect.as_str() {
        "NoSchedule" => [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&t.key.as_str()) || TROUBLES.iter().any(|(_, k)| *k == t.key),
        "NoExecute" => t.key == NOT_READY || t.key == UNREACHABLE,
        _ => false,
    };
    let old: Vec<Taint> = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let is = |t: &Taint, k: &(&str, &str)| t.key == k.0 && t.effect == k.1;
    let mut new: Vec<Taint> = old.iter().filter(|t| !ours(t) || keys.iter().any(|k| is(t, k))).cloned().collect();
    for key in &keys {
        if !new.iter().any(|t| is(t, key)) {
            new.push(Taint { key: key.0.into(), effect: key.1.into(), value: None, time_added: Some(Time(now)) });
        }
    }
    (new != old).then_some(new)
}

/// The conditions of a node nobody hears of, or `None` where they say so already.
pub fn unknown(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut changed = Vec::new();
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let old = condition(node, kind);
        if old.is_some_and(|c| c.status == "Unknown") {
            continue;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        changed.push(NodeCondition {
            type_: kind.into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: old.map_or_else(|| node.creation_timestamp(), |c| c.last_heartbeat_time.clone()),
            last_transition_time: Some(Time(now)),
        });
    }
    (!changed.is_empty()).then_some(changed)
}

/// How many seconds a pod stays under the taints: `None` for ever, zero not at all.
pub fn tolerated(taints: &[Taint], tolerations: &[Toleration]) -> Option<i64> {
    let mut least: Option<i64> = None;
    for taint in taints {
        let mut fitting = tolerations.iter().filter(|t| tolerates(t, taint)).peekable();
        if fitting.peek().is_none() {
            return Some(0);
        }
        for seconds in fitting.filter_map(|t| t.toleration_seconds) {
            least = Some(least.map_or(seconds, |l| l.min(seconds)).max(0));
        }
    }
    least
}

/// From when the toleration counts: the newest taint's time, but not before the pod was there.
pub fn since(pod: &Pod, taints: &[Taint]) -> Timestamp {
    let newest = taints.iter().map(|t| t.time_added.as_ref().map_or_else(Timestamp::now, |t| t.0)).max();
    let created = pod.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    newest.unwrap_or_else(Timestamp::now).max(created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(ready: &str, taints: Value) -> Node {
        let node =
            json!({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_ready_node_loses_the_taints_it_was_registered_with_and_keeps_foreign_ones() {
        let taints = json!([{"key": NOT_READY, "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoExecute"}, {"key": "mine", "effect": "NoExecute"}]);
        let wanted = wanted(&node("True", taints), true, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(wanted.iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["mine"]);
    }

    #[test]
    fn pods_are_driven_out_only_while_some_node_is_well() {
        let effects = |any| {
            wanted(&node("Unknown", json!([])), any, Timestamp::UNIX_EPOCH).unwrap().into_iter().map(|t| t.effect).collect::<Vec<_>>()
        };
        assert_eq!(effects(true), ["NoSchedule", "NoExecute"]);
        assert_eq!(effects(false), ["NoSchedule"]);
    }

    #[test]
    fn the_shortest_toleration_counts_and_an_untolerated_taint_ends_all() {
        let taints = executing(&node("True", json!([{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoExecute"}])));
        let parse = |v: Value| -> Vec<Toleration> { serde_json::from_value(v).unwrap() };
        let short = json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 9}, {"operator": "Exists", "tolerationSeconds": 30}]);
        assert_eq!(tolerated(&taints, &parse(short)), Some(9));
        assert_eq!(tolerated(&taints, &parse(json!([{"operator": "Exists"}]))), None);
        assert_eq!(tolerated(&taints, &parse(json!([{"key": "a", "operator": "Exists"}]))), Some(0));
    }
}

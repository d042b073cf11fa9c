//! Taints, tolerations, and cordoned nodes.

use crate::framework::{Cycle, Plugin, Reject, normalize};
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{Taint, Toleration};

pub struct TaintToleration;
pub struct Unschedulable;

/// An empty key with `Exists` tolerates everything, an empty effect every effect.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|t| {
        let empty = |text: &Option<String>| text.as_deref().unwrap_or("").is_empty();
        let effect = empty(&t.effect) || t.effect.as_deref() == Some(taint.effect.as_str());
        let key = empty(&t.key) || t.key.as_deref() == Some(taint.key.as_str());
        let value = match t.operator.as_deref().unwrap_or("Equal") {
            "Exists" => true,
            "Equal" | "" => !empty(&t.key) && t.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
            _ => false,
        };
        effect && key && value
    })
}

fn taints(node: &NodeInfo) -> &[Taint] {
    node.node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default()
}

fn tolerations(cycle: &Cycle) -> &[Toleration] {
    cycle.spec.tolerations.as_deref().unwrap_or_default()
}

/// Upstream's `TaintToleration`.
impl Plugin for TaintToleration {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        let hard = taints(node).iter().filter(|t| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute"));
        match hard.clone().find(|t| !tolerates(tolerations(cycle), t)) {
            Some(t) => vec![Reject::node(format!("node(s) had untolerated taint(s) {{{}: {}}}", t.key, t.value.as_deref().unwrap_or("")))],
            None => Vec::new(),
        }
    }

    fn score(&self, cycle: &Cycle, nodes: &[&NodeInfo], _: &[NodeInfo]) -> Option<Vec<i64>> {
        let bad =
            |n: &NodeInfo| taints(n).iter().filter(|t| t.effect == "PreferNoSchedule" && !tolerates(tolerations(cycle), t)).count() as i64;
        Some(normalize(&nodes.iter().map(|n| bad(n)).collect::<Vec<_>>(), true))
    }

    fn weight(&self) -> i64 {
        3
    }
}

/// Upstream's `NodeUnschedulable`.
impl Plugin for Unschedulable {
    fn filter(&self, cycle: &Cycle, node: &NodeInfo, _: &[NodeInfo]) -> Vec<Reject> {
        let cordoned = node.node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false);
        let taint = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
        if cordoned && !tolerates(tolerations(cycle), &taint) { vec![Reject::node("node(s) were unschedulable")] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_matches_by_key_value_and_effect() {
        let taint = Taint { key: "a".into(), value: Some("1".into()), effect: "NoSchedule".into(), ..Taint::default() };
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: Some(key.into()),
            operator: Some(operator.into()),
            value: Some(value.into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        assert!(tolerates(&[toleration("a", "Equal", "1", "NoSchedule")], &taint));
        assert!(tolerates(&[toleration("a", "Exists", "", "")], &taint));
        assert!(tolerates(&[toleration("", "Exists", "", "")], &taint));
        assert!(!tolerates(&[toleration("a", "Equal", "2", "")], &taint));
        assert!(!tolerates(&[toleration("a", "Exists", "", "NoExecute")], &taint));
        assert!(!tolerates(&[], &taint));
    }
}

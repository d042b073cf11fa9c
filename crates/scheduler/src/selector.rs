//! Which nodes a node selector term means, and which pods a label selector.

use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// Terms are alternatives; a term without requirements means no node.
pub fn node_selector(selector: &NodeSelector, node: &NodeInfo) -> bool {
    selector.node_selector_terms.iter().any(|term| node_term(term, node))
}

pub fn node_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|r| requirement(r, node.label(&r.key)))
        && fields.iter().all(|r| requirement(r, (r.key == "metadata.name").then(|| node.name())))
}

fn requirement(r: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = r.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|v| values.iter().any(|w| w == v));
    let compared = |holds: fn(i64, i64) -> bool| match (value.and_then(|v| v.parse().ok()), values.first().and_then(|v| v.parse().ok())) {
        (Some(have), Some(want)) => holds(have, want),
        _ => false,
    };
    match r.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|have, want| have > want),
        "Lt" => compared(|have, want| have < want),
        _ => false,
    }
}

/// A selector of pods, compiled once per cycle. No selector selects nothing, an empty one everything.
pub struct Pods(meta::labels::Selector);

impl Pods {
    pub fn new(selector: Option<&LabelSelector>) -> Self {
        let compiled = selector.and_then(|s| serde_json::to_value(s).ok()).and_then(|v| meta::labels::Selector::from_value(&v).ok());
        Self(compiled.unwrap_or_else(meta::labels::Selector::nothing))
    }

    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.0.matches(|key| labels.and_then(|l| l.get(key)).map(String::as_str))
    }
}

/// A StorageClass's allowed topology.
pub fn topology_term(term: &k8s_openapi::api::core::v1::TopologySelectorTerm, node: &NodeInfo) -> bool {
    term.match_label_expressions.iter().flatten().all(|e| node.label(&e.key).is_some_and(|v| e.values.iter().any(|w| w == v)))
}

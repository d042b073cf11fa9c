//! One pod against all nodes.

use crate::framework::{Cycle, Plugin, Reject};
use crate::nodes::NodeInfo;
use std::collections::BTreeMap;

pub enum Outcome<'a> {
    Place(&'a NodeInfo),
    Nowhere(Vec<(&'a NodeInfo, Vec<Reject>)>),
}

/// The first plugin that refuses a node ends its trial, as upstream's do; so its reasons are that plugin's.
pub fn filter(plugins: &[Box<dyn Plugin>], cycle: &Cycle, node: &NodeInfo, all: &[NodeInfo]) -> Vec<Reject> {
    plugins.iter().map(|p| p.filter(cycle, node, all)).find(|rejects| !rejects.is_empty()).unwrap_or_default()
}

pub fn place<'a>(plugins: &[Box<dyn Plugin>], cycle: &Cycle, all: &'a [NodeInfo]) -> Outcome<'a> {
    let mut fitting = Vec::new();
    let mut refused = Vec::new();
    for node in all {
        let rejects = filter(plugins, cycle, node, all);
        if rejects.is_empty() { fitting.push(node) } else { refused.push((node, rejects)) }
    }
    match fitting.len() {
        0 => Outcome::Nowhere(refused),
        1 => Outcome::Place(fitting[0]),
        _ => {
            let mut totals = vec![0i64; fitting.len()];
            for plugin in plugins {
                for (total, score) in totals.iter_mut().zip(plugin.score(cycle, &fitting, all).unwrap_or_default()) {
                    *total += score * plugin.weight();
                }
            }
            let best = totals.iter().copied().max().unwrap_or(0);
            let equal: Vec<usize> = (0..totals.len()).filter(|i| totals[*i] == best).collect();
            // Among equals at random, so that they fill evenly.
            Outcome::Place(fitting[equal[rand::random_range(0..equal.len())]])
        }
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
pub fn explain(total: usize, refused: &[(&NodeInfo, Vec<Reject>)]) -> String {
    if total == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reject in refused.iter().flat_map(|(_, rejects)| rejects) {
        *reasons.entry(&reject.reason).or_insert(0) += 1;
    }
    let mut parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{total} nodes are available: {}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::snapshot;
    use crate::plugins;
    use crate::volumes::Claims;
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::{Value, json};
    use std::collections::HashMap;
    use std::sync::Arc;

    fn node(name: &str, cpu: &str, labels: Value) -> Arc<Node> {
        let value = json!({"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn pod(name: &str, on: Option<&str>, spec: Value) -> Arc<Pod> {
        let mut value = json!({"metadata": {"name": name, "namespace": "a", "uid": name, "labels": {"app": "web"}}, "spec": spec});
        value["spec"]["nodeName"] = json!(on);
        if value["spec"].get("containers").is_none() {
            value["spec"]["containers"] = json!([{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]);
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn chosen(nodes: Vec<Arc<Node>>, pods: Vec<Arc<Pod>>, new: Arc<Pod>) -> Result<String, String> {
        let infos = snapshot(nodes, pods, &HashMap::new());
        let cycle = Cycle::new(new, Claims::default(), Vec::new());
        match place(&plugins::all(), &cycle, &infos) {
            Outcome::Place(node) => Ok(node.name().to_string()),
            Outcome::Nowhere(refused) => Err(explain(infos.len(), &refused)),
        }
    }

    #[test]
    fn a_pod_goes_where_most_is_free() {
        let nodes = vec![node("a", "2", json!({})), node("b", "2", json!({}))];
        assert_eq!(chosen(nodes, vec![pod("x", Some("a"), json!({}))], pod("p", None, json!({}))), Ok("b".into()));
    }

    #[test]
    fn a_pod_that_fits_nowhere_says_why() {
        let nodes = vec![node("a", "500m", json!({})), node("b", "2", json!({}))];
        let mut wanted = json!({"nodeSelector": {"disk": "ssd"}});
        wanted["containers"] = json!([{"name": "c", "resources": {"requests": {"cpu": "1"}}}]);
        assert_eq!(
            chosen(nodes.clone(), vec![], pod("p", None, wanted)),
            Err("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.".into())
        );
        let big = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}]});
        assert_eq!(chosen(nodes, vec![], pod("p", None, big)), Err("0/2 nodes are available: 2 Insufficient cpu.".into()));
    }

    #[test]
    fn anti_affinity_keeps_pods_apart_and_spread_evens_them_out() {
        let nodes = vec![node("a", "4", json!({"host": "a"})), node("b", "4", json!({"host": "b"}))];
        let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "web"}}}]}}});
        assert_eq!(chosen(nodes.clone(), vec![pod("x", Some("a"), json!({}))], pod("p", None, apart.clone())), Ok("b".into()));
        let both = vec![pod("x", Some("a"), json!({})), pod("y", Some("b"), json!({}))];
        assert_eq!(
            chosen(nodes.clone(), both, pod("p", None, apart)),
            Err("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.".into())
        );
        let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "host", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}}]});
        assert_eq!(chosen(nodes, vec![pod("x", Some("b"), json!({}))], pod("p", None, spread)), Ok("a".into()));
    }
}

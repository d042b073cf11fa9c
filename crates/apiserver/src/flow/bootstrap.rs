//! The flow schemas and priority levels that are there from the start: the mandatory ones always as they are
//! here, the suggested ones for as long as nobody has taken them over.

use meta::value;
use serde_json::{Value, json};

pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// `true`: the server keeps the spec up to date. An operator says `false`.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];
const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    })
}

/// `queues`: how many, and how many a flow may choose from; none: whoever finds no seat is refused.
fn level(name: &str, shares: u32, lendable: u32, queues: Option<(u32, u32)>) -> Value {
    let response = match queues {
        Some((queues, hand)) => json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}}),
        None => json!({"type": "Reject"}),
    };
    let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn system_accounts() -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}})
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster {
        rule["clusterScope"] = json!(true);
    }
    rule
}

fn anything(subjects: Vec<Value>) -> Value {
    json!([{
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }])
}

fn schema(name: &str, level: &str, precedence: u32, by: &str, rules: Value) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": rules});
    if !by.is_empty() {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    object("FlowSchema", name, spec)
}

/// Levels first, so that no schema refers to one that is not there.
pub fn objects() -> Vec<Value> {
    let everybody = || EVERYBODY.map(group).to_vec();
    let (by_user, by_namespace) = ("ByUser", "ByNamespace");
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let leaders = vec![user("system:kube-controller-manager"), user("system:kube-scheduler"), system_accounts()];
    let election = json!([{"subjects": leaders, "resourceRules": [leases(&["get", "create", "update"])]}]);
    let nodes = resources(&["*"], "", &["nodes", "nodes/status"], true);
    let node_high = json!([{"subjects": [group("system:nodes")], "resourceRules": [nodes, leases(&["*"])]}]);
    let health = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    let probes = json!([{"subjects": everybody(), "nonResourceRules": health}]);
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    vec![
        object("PriorityLevelConfiguration", "exempt", exempt),
        level("catch-all", 5, 0, None),
        level("system", 30, 33, Some((64, 6))),
        level("node-high", 40, 25, Some((64, 6))),
        level("leader-election", 10, 0, Some((16, 4))),
        level("workload-high", 40, 50, Some((128, 6))),
        level("workload-low", 100, 90, Some((128, 6))),
        level("global-default", 20, 50, Some((128, 6))),
        schema("exempt", "exempt", 1, "", anything(vec![group("system:masters")])),
        schema("catch-all", "catch-all", 10_000, by_user, anything(everybody())),
        schema("probes", "exempt", 2, "", probes),
        schema("system-leader-election", "leader-election", 100, by_user, election),
        schema("system-node-high", "node-high", 400, by_user, node_high),
        schema("system-nodes", "system", 500, by_user, anything(vec![group("system:nodes")])),
        schema("kube-controller-manager", "workload-high", 800, by_namespace, anything(vec![user("system:kube-controller-manager")])),
        schema("kube-scheduler", "workload-high", 800, by_namespace, anything(vec![user("system:kube-scheduler")])),
        schema("kube-system-service-accounts", "workload-high", 900, by_namespace, anything(vec![system_accounts()])),
        schema("service-accounts", "workload-low", 9000, by_user, anything(vec![group("system:serviceaccounts")])),
        schema("global-default", "global-default", 9900, by_user, anything(everybody())),
    ]
}

/// Whether the spec of `there` is the server's to change.
pub fn ours(there: &Value) -> bool {
    let name = value::text(there, &["metadata", "name"]);
    MANDATORY.contains(&name) || value::text(there, &["metadata", "annotations", AUTO_UPDATE]) == "true"
}

//! The roles, bindings and priority classes that a cluster starts with.

mod components;
mod controllers;
mod namespaces;
pub mod reconcile;
mod users;

use super::rbac::GROUP;
use serde_json::{Value, json};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const READ: &str = "get,list,watch";
const WRITE: &str = "create,delete,deletecollection,patch,update";
const ALL: &str = "create,delete,deletecollection,get,list,patch,update,watch";

fn split(text: &str) -> Vec<&str> {
    text.split(',').collect()
}

/// Verbs, groups (`""` is the core's), resources, each parted by commas.
fn rule(verbs: &str, groups: &str, resources: &str) -> Value {
    json!({"verbs": split(verbs), "apiGroups": split(groups), "resources": split(resources)})
}

fn named(verbs: &str, group: &str, resource: &str, names: &str) -> Value {
    json!({"verbs": split(verbs), "apiGroups": [group], "resources": split(resource), "resourceNames": split(names)})
}

fn paths(verbs: &str, paths: &str) -> Value {
    json!({"verbs": split(verbs), "nonResourceURLs": split(paths)})
}

fn object(kind: &str, namespace: &str, name: &str, body: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {AUTOUPDATE: "true"}},
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if let (Some(object), Value::Object(body)) = (object.as_object_mut(), body) {
        object.extend(body);
    }
    object
}

fn cluster_role(name: &str, rules: Vec<Value>) -> Value {
    object("ClusterRole", "", name, json!({"rules": rules}))
}

/// A role that the aggregated `to` takes up.
fn part(name: &str, to: &str, rules: Vec<Value>) -> Value {
    let mut role = cluster_role(name, rules);
    role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = json!("true");
    role
}

/// The parts of `name` are those that say so.
fn aggregate(name: &str, to: Option<&str>) -> Value {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
    let body = json!({"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}});
    let mut role = object("ClusterRole", "", name, body);
    if let Some(to) = to {
        role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = json!("true");
    }
    role
}

fn subject(text: &str) -> Value {
    match text.split_once('/') {
        Some((namespace, name)) => json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}),
        None => match text.strip_prefix('@') {
            Some(group) => json!({"kind": "Group", "apiGroup": GROUP, "name": group}),
            None => json!({"kind": "User", "apiGroup": GROUP, "name": text}),
        },
    }
}

/// Subjects: `@group`, `namespace/account` or a user, parted by commas.
fn bind(name: &str, role: &str, subjects: &str) -> Value {
    let subjects: Vec<Value> = subjects.split(',').filter(|s| !s.is_empty()).map(subject).collect();
    object(
        "ClusterRoleBinding",
        "",
        name,
        json!({"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}, "subjects": subjects}),
    )
}

fn events() -> Value {
    rule("create,patch,update", ",events.k8s.io", "events")
}

/// In the order in which they are to be created.
pub fn objects() -> Vec<Value> {
    let mut all = users::all();
    all.extend(components::all());
    all.extend(controllers::all());
    all.extend(namespaces::all());
    all.extend(priorities());
    all
}

fn priorities() -> Vec<Value> {
    let class = |name: &str, value: i64, text: &str| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "preemptionPolicy": "PreemptLowerPriority", "description": text})
    };
    vec![
        class("system-cluster-critical", 2_000_000_000, "For pods that the cluster cannot do without, and that may move."),
        class("system-node-critical", 2_000_001_000, "For pods that their node cannot do without."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_binding_has_its_role_and_nothing_comes_twice() {
        let all = objects();
        let key = |kind: &Value, ns: &Value, name: &Value| format!("{kind} {ns} {name}");
        let keys: HashSet<String> = all.iter().map(|o| key(&o["kind"], &o["metadata"]["namespace"], &o["metadata"]["name"])).collect();
        assert_eq!(keys.len(), all.len());
        for binding in all.iter().filter(|o| o.get("roleRef").is_some()) {
            let namespace = if binding["roleRef"]["kind"] == "Role" { &binding["metadata"]["namespace"] } else { &Value::Null };
            assert!(keys.contains(&key(&binding["roleRef"]["kind"], namespace, &binding["roleRef"]["name"])), "{binding}");
        }
    }
}

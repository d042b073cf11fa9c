//! What is asked of a pod besides itself.

use super::{resize, update};
use crate::Subresource;
use meta::{ApiError, GroupResource, value};
use serde_json::{Value, json};

pub fn all() -> Vec<Subresource> {
    let change: &[&str] = &["get", "patch", "update"];
    let stream: &[&str] = &["create", "get"];
    let proxy: &[&str] = &["create", "delete", "get", "patch", "update"];
    vec![
        Subresource::Connect { name: "attach", kind: ("", "", "PodAttachOptions"), verbs: stream },
        Subresource::Create { name: "binding", kind: ("", "", "Binding"), mutate: bind },
        Subresource::Update {
            name: "ephemeralcontainers",
            verbs: change,
            prepare: update::only_ephemeral,
            validate: update::validate_ephemeral,
        },
        Subresource::Connect { name: "eviction", kind: ("policy", "v1", "Eviction"), verbs: &["create"] },
        Subresource::Connect { name: "exec", kind: ("", "", "PodExecOptions"), verbs: stream },
        Subresource::Connect { name: "log", kind: ("", "", "Pod"), verbs: &["get"] },
        Subresource::Connect { name: "portforward", kind: ("", "", "PodPortForwardOptions"), verbs: stream },
        Subresource::Connect { name: "proxy", kind: ("", "", "PodProxyOptions"), verbs: proxy },
        Subresource::Update { name: "resize", verbs: change, prepare: resize::only_resources, validate: resize::validate },
        Subresource::Status,
    ]
}

/// Puts a pod on a node, once.
fn bind(pod: &mut Value, binding: &Value) -> Result<Value, ApiError> {
    let name = value::text(pod, &["metadata", "name"]).to_string();
    let refuse = |why: String| Err(ApiError::conflict(&GroupResource::new("", "pods/binding"), &name, &why));
    let node = value::text(binding, &["target", "name"]);
    if node.is_empty() {
        return Err(ApiError::bad_request("Binding.target.name: Required value"));
    }
    let target = value::text(binding, &["target", "kind"]);
    if !matches!(target, "" | "Node") {
        return Err(ApiError::bad_request(format!(
            "target.kind: Unsupported value: \"{target}\": supported values: \"Node\", \"<empty>\""
        )));
    }
    let uid = value::text(binding, &["metadata", "uid"]);
    let own = value::text(pod, &["metadata", "uid"]);
    if !uid.is_empty() && uid != own {
        return refuse(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"));
    }
    if value::at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let there = value::text(pod, &["spec", "nodeName"]);
    if !there.is_empty() {
        return refuse(format!("pod {name} is already assigned to node \"{there}\""));
    }
    if !value::items(pod, &["spec", "schedulingGates"]).is_empty() {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    value::set(pod, &["spec", "nodeName"], node);
    for (key, text) in value::at(binding, &["metadata", "annotations"]).and_then(Value::as_object).into_iter().flatten() {
        value::set(pod, &["metadata", "annotations", key], text.clone());
    }
    let mut conditions = value::items(pod, &["status", "conditions"]).to_vec();
    conditions.retain(|c| value::text(c, &["type"]) != "PodScheduled");
    conditions.push(json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": meta::time::now()}));
    value::set(pod, &["status", "conditions"], conditions);
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

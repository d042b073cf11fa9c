//! What of a status the API has yet to be told.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value, json};

/// The strategic merge patch from what the API has to what is so, or nothing.
pub fn patch(pod: &Pod, new: &PodStatus) -> Option<Value> {
    // Without a status of its own a pod is as new.
    let old = pod.status.as_ref().and_then(|s| serde_json::to_value(s).ok()).unwrap_or_default();
    let new = serde_json::to_value(new).ok()?;
    let (old, new) = (old.as_object().cloned().unwrap_or_default(), new.as_object()?);
    let mut changes = Map::new();
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        match key.as_str() {
            "conditions" => {
                let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
                let mut changed: Vec<Value> =
                    value.as_array().into_iter().flatten().filter(|c| !before.contains(c)).map(|c| whole_condition(c, &before)).collect();
                changed.extend(ended(&before, value));
                if !changed.is_empty() {
                    changes.insert(key.clone(), Value::Array(changed));
                }
            }
            // Merged by address: the old ones are taken out by name.
            "podIPs" | "hostIPs" => {
                let gone = before.and_then(Value::as_array).into_iter().flatten();
                let gone = gone.filter(|ip| !value.as_array().is_some_and(|v| v.contains(ip)));
                let mut list: Vec<Value> = gone.map(|ip| json!({"$patch": "delete", "ip": ip["ip"]})).collect();
                list.extend(value.as_array().into_iter().flatten().cloned());
                changes.insert(key.clone(), Value::Array(list));
            }
            _ => drop(changes.insert(key.clone(), value.clone())),
        }
    }
    for key in ["reason", "message"] {
        if old.contains_key(key) && !new.contains_key(key) {
            changes.insert(key.into(), Value::Null);
        }
    }
    if changes.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"uid": pod.metadata.uid}, "status": changes}))
}

/// What a condition no longer says is taken out.
fn whole_condition(condition: &Value, before: &[Value]) -> Value {
    let mut condition = condition.clone();
    let old = before.iter().find(|c| c["type"] == condition["type"]);
    for key in ["reason", "message"] {
        if old.is_some_and(|o| o.get(key).is_some()) && condition.get(key).is_none() {
            condition[key] = Value::Null;
        }
    }
    condition
}

/// The agent's own conditions that are only there while they hold.
fn ended(before: &[Value], now: &Value) -> Vec<Value> {
    let there = |kind: &str| now.as_array().into_iter().flatten().any(|c| c["type"] == kind);
    let passing = ["PodResizePending", "PodResizeInProgress"].into_iter().filter(|kind| !there(kind));
    passing.filter(|kind| before.iter().any(|c| c["type"] == *kind)).map(|kind| json!({"$patch": "delete", "type": kind})).collect()
}

//! What a new pod is made of besides what was sent.

use super::super::pod_template::{self, annotations};
use crate::rules::{get, has};
use meta::value;
use serde_json::{Value, json};

pub fn create(pod: &mut Value) {
    let qos = pod_template::qos(get(pod, "spec"));
    let mut status = json!({"phase": "Pending", "qosClass": qos});
    if !value::items(pod, &["spec", "schedulingGates"]).is_empty() {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": message,
            "lastTransitionTime": meta::time::now()}]);
    }
    value::set(pod, &["status"], status);
    label_keys(pod);
    app_armor(pod);
}

/// What a pod's own labels say becomes part of its selectors, so that who places it need not look twice.
fn label_keys(pod: &mut Value) {
    let labels = value::at(pod, &["metadata", "labels"]).cloned().unwrap_or_default();
    let Some(spec) = pod.get_mut("spec") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let required = value::items_mut(spec, &["affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution"]);
        required.iter_mut().for_each(|term| merge(term, &labels));
        for weighted in value::items_mut(spec, &["affinity", kind, "preferredDuringSchedulingIgnoredDuringExecution"]) {
            if let Some(term) = weighted.get_mut("podAffinityTerm") {
                merge(term, &labels);
            }
        }
    }
    value::items_mut(spec, &["topologySpreadConstraints"]).iter_mut().for_each(|constraint| merge(constraint, &labels));
}

fn merge(term: &mut Value, labels: &Value) {
    if !has(term, "labelSelector") {
        return;
    }
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys: Vec<String> = value::items(term, &[list]).iter().filter_map(Value::as_str).map(str::to_string).collect();
        for key in keys {
            let Some(own) = labels.get(&key) else { continue };
            let mut expressions = value::items(term, &["labelSelector", "matchExpressions"]).to_vec();
            expressions.push(json!({"key": key, "operator": operator, "values": [own]}));
            value::set(term, &["labelSelector", "matchExpressions"], expressions);
        }
    }
}

/// Fields for who still writes annotations.
fn app_armor(pod: &mut Value) {
    if value::text(pod, &["spec", "os", "name"]) == "windows" {
        return;
    }
    let of_pod = value::at(pod, &["spec", "securityContext", "appArmorProfile"]).cloned();
    let known = value::at(pod, &["metadata", "annotations"]).cloned().unwrap_or_default();
    for list in ["spec.initContainers", "spec.containers"] {
        let path: Vec<&str> = list.split('.').collect();
        for container in value::items_mut(pod, &path) {
            let key = format!("{}{}", annotations::APP_ARMOR, value::text(container, &["name"]));
            let Some(text) = known.get(&key).and_then(Value::as_str) else { continue };
            if value::at(container, &["securityContext", "appArmorProfile"]).is_none()
                && let Some(field) = profile(text).filter(|field| Some(field) != of_pod.as_ref())
            {
                value::set(container, &["securityContext", "appArmorProfile"], field);
            }
        }
    }
}

fn profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => annotation.strip_prefix("localhost/").filter(|p| !p.is_empty()).map(|p| json!({"type": "Localhost", "localhostProfile": p})),
    }
}

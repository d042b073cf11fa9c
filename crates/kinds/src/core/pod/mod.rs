//! One or more containers that live and die together on one node.

mod phase;
mod subresources;
mod update;

use super::pod_template::{self, Place};
use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::{Value, json};
use std::borrow::Cow;

pub struct Pod;

const FIELDS: [&str; 8] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

impl Kind for Pod {
    built_in!("io.k8s.api.core.v1.Pod", Names::new("", "v1", "Pod", "pods", Scope::Namespaced).short(&["po"]).categories(&["all"]));

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        pod_template::default_spec(value_at(object, "spec"), Place::Pod);
    }

    fn prepare_create(&self, object: &mut Value) {
        let qos = pod_template::qos(get(object, "spec"));
        let mut status = json!({"phase": "Pending", "qosClass": qos});
        if !value::items(object, &["spec", "schedulingGates"]).is_empty() {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": message,
                "lastTransitionTime": meta::time::now()}]);
        }
        value::set(object, &["status"], status);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        pod_template::validate_spec(get(object, "spec"), get(object, "metadata"), &path("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        update::validate(new, old)
    }

    /// What a node says stays even where a client leaves it out.
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let status = new.get("status").cloned().unwrap_or_else(|| json!({}));
        let managed = value::at(new, &["metadata", "managedFields"]).cloned();
        *new = old.clone();
        value::set(new, &["status"], status);
        value::carry(new, old, &["status", "qosClass"]);
        if let Some(managed) = managed {
            value::set(new, &["metadata", "managedFields"], managed);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { pod_template::spec_warnings(get(object, "spec"), &path("spec")) }
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        FIELDS.iter().map(|f| Cow::Borrowed(*f)).collect()
    }

    fn selectable(&self, object: &Value, field: &str) -> String {
        match field {
            "spec.hostNetwork" => value::flag(object, &["spec", "hostNetwork"]).to_string(),
            _ => value::text(object, &field.split('.').collect::<Vec<_>>()).to_string(),
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Ready", "string"),
            Column::new("Status", "string"),
            Column::new("Restarts", "string"),
            Column::age(),
            Column::wide("IP", "string"),
            Column::wide("Node", "string"),
            Column::wide("Nominated Node", "string"),
            Column::wide("Readiness Gates", "string"),
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let shown = phase::shown(object, now);
        let gates = value::items(object, &["spec", "readinessGates"]);
        let passed = |gate: &&Value| crate::rules::condition(object, value::text(gate, &["conditionType"])) == "True";
        let gates =
            if gates.is_empty() { "<none>".to_string() } else { format!("{}/{}", gates.iter().filter(passed).count(), gates.len()) };
        vec![
            table::name(object),
            format!("{}/{}", shown.ready, shown.total).into(),
            shown.status.into(),
            shown.restarts.into(),
            table::age(object, now).into(),
            table::text_or(object, &["status", "podIP"], "<none>"),
            table::text_or(object, &["spec", "nodeName"], "<none>"),
            table::text_or(object, &["status", "nominatedNodeName"], "<none>"),
            gates.into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        subresources::all()
    }

    /// What was asked for, else what the spec says. A pod that no node has is gone at once, and so is one
    /// that has ended.
    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let period = requested.or_else(|| value::int(object, &["spec", "terminationGracePeriodSeconds"])).unwrap_or(30);
        let ended = matches!(value::text(object, &["status", "phase"]), "Failed" | "Succeeded");
        if value::text(object, &["spec", "nodeName"]).is_empty() || ended { Some(0) } else { Some(if period < 0 { 1 } else { period }) }
    }
}

/// A field of an object, made an object where it is missing.
pub(super) fn value_at<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    let _ = value::object(object, &[name]);
    &mut object[name]
}

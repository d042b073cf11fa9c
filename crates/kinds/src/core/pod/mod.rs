//! One or more containers that live and die together on one node.

mod phase;
mod prepare;
mod resize;
mod status;
mod subresources;
mod update;

use super::pod_template::{self, Place};
use crate::kind::{built_in, differs};
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;
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

    /// A binding is not a change that anybody asked of the pod's spec.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        differs(get(new, "spec"), get(old, "spec"), &["nodeName"])
    }

    fn default(&self, object: &mut Value) {
        pod_template::default_spec(value_at(object, "spec"), Place::Pod);
    }

    fn prepare_create(&self, object: &mut Value) {
        prepare::create(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        update::whole(object)
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        if !value::items(spec, &["ephemeralContainers"]).is_empty() {
            errors.forbidden(&at.child("ephemeralContainers"), "cannot be set on create");
        }
        if !value::text(spec, &["nodeName"]).is_empty() && !value::items(spec, &["schedulingGates"]).is_empty() {
            errors.forbidden(&at.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
        }
        pod_template::annotations::agree(get(object, "metadata"), spec, &at, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        update::validate(new, old)
    }

    /// What a node says stays even where a client leaves it out.
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        status::prepare(new, old);
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        status::validate(new, old)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let name = value::text(object, &["metadata", "name"]);
        let wrong = validate::dns_label(name, false);
        let mut texts = Vec::new();
        if !wrong.is_empty() {
            let why = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended";
            texts.push(format!("metadata.name: {why}: [{}]", wrong.join(" ")));
        }
        texts.extend(pod_template::spec_warnings(get(object, "spec"), get(object, "metadata"), &meta::FieldPath::root(), false));
        texts
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

//! A machine that runs pods.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct Node;

const ROLE: &str = "node-role.kubernetes.io/";
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

impl Kind for Node {
    built_in!("io.k8s.api.core.v1.Node", Names::new("", "v1", "Node", "nodes", Scope::Cluster).short(&["no"]));

    fn storage_prefix(&self) -> String {
        "minions".into()
    }

    fn default(&self, object: &mut Value) {
        let _ = value::object(object, &["spec"]);
    }

    /// A node registers itself with its status.
    fn prepare_create(&self, _object: &mut Value) {}

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let taints = value::items(object, &["spec", "taints"]);
        for (i, taint) in taints.iter().enumerate() {
            let at = path("spec.taints").index(i);
            let key = value::text(taint, &["key"]);
            rules::messages(validate::qualified_name(key), key, &at.child("key"), &mut errors);
            let text = value::text(taint, &["value"]);
            rules::messages(validate::label_value(text), text, &at.child("value"), &mut errors);
            rules::one_of(value::text(taint, &["effect"]), &EFFECTS, &at.child("effect"), &mut errors);
            let same = |t: &Value| get(t, "key") == get(taint, "key") && get(t, "effect") == get(taint, "effect");
            if taints[..i].iter().any(same) {
                errors.duplicate(&at, taint.clone());
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for name in ["podCIDR", "providerID"] {
            let (before, after) = (value::text(old, &["spec", name]), value::text(new, &["spec", name]));
            if !before.is_empty() && before != after {
                errors.forbidden(&path("spec").child(name), "node updates may not change this field except from \"\" to valid");
            }
        }
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["spec.unschedulable".into()]
    }

    fn selectable(&self, object: &Value, _field: &str) -> String {
        value::flag(object, &["spec", "unschedulable"]).to_string()
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Status", "string"),
            Column::new("Roles", "string"),
            Column::age(),
            Column::new("Version", "string"),
            Column::wide("Internal-IP", "string"),
            Column::wide("External-IP", "string"),
            Column::wide("OS-Image", "string"),
            Column::wide("Kernel-Version", "string"),
            Column::wide("Container-Runtime", "string"),
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut status = match rules::condition(object, "Ready") {
            "True" => "Ready",
            "" => "Unknown",
            _ => "NotReady",
        }
        .to_string();
        if value::flag(object, &["spec", "unschedulable"]) {
            status.push_str(",SchedulingDisabled");
        }
        let labels = value::at(object, &["metadata", "labels"]).and_then(Value::as_object);
        let mut roles: Vec<&str> = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, text)| match key.strip_prefix(ROLE) {
                Some(role) if !role.is_empty() => Some(role),
                None if key == "kubernetes.io/role" => text.as_str(),
                _ => None,
            })
            .collect();
        roles.sort_unstable();
        let roles = if roles.is_empty() { "<none>".to_string() } else { roles.join(",") };
        let address = |ty: &str| {
            let found = value::items(object, &["status", "addresses"]).iter().find(|a| value::text(a, &["type"]) == ty);
            found.map_or("<none>", |a| value::text(a, &["address"])).to_string()
        };
        let info = |name: &str| table::text_or(object, &["status", "nodeInfo", name], "<unknown>");
        vec![
            table::name(object),
            status.into(),
            roles.into(),
            table::age(object, now).into(),
            table::text(object, &["status", "nodeInfo", "kubeletVersion"]),
            address("InternalIP").into(),
            address("ExternalIP").into(),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        let verbs = &["create", "delete", "get", "patch", "update"];
        vec![Subresource::Connect { name: "proxy", kind: ("", "", "NodeProxyOptions"), verbs }, Subresource::Status]
    }
}

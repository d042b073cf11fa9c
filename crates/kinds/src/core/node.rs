//! A machine that runs pods.

use super::pod_template::scheduling;
use super::resource_names;
use crate::kind::built_in;
use crate::rules::{self, get, has, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct Node;

const ROLE: &str = "node-role.kubernetes.io/";

impl Kind for Node {
    built_in!("io.k8s.api.core.v1.Node", Names::new("", "v1", "Node", "nodes", Scope::Cluster).short(&["no"]));

    fn storage_prefix(&self) -> String {
        "minions".into()
    }

    fn default(&self, object: &mut Value) {
        let _ = value::object(object, &["spec"]);
        // The older and the newer name of the same range.
        let first = value::items(object, &["spec", "podCIDRs"]).first().and_then(Value::as_str).unwrap_or_default().to_string();
        let single = value::text(object, &["spec", "podCIDR"]).to_string();
        if first.is_empty() && !single.is_empty() {
            value::set(object, &["spec", "podCIDRs"], vec![single]);
        } else if single.is_empty() && !first.is_empty() {
            value::set(object, &["spec", "podCIDR"], first);
        }
        if let Some(capacity) = value::at(object, &["status", "capacity"]).cloned() {
            value::default(object, &["status", "allocatable"], capacity);
        }
    }

    /// A node registers itself with its status.
    fn prepare_create(&self, _object: &mut Value) {}

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let taints = value::items(object, &["spec", "taints"]);
        for (i, taint) in taints.iter().enumerate() {
            let at = path("metadata.taints").index(i);
            let (key, text) = (value::text(taint, &["key"]), value::text(taint, &["value"]));
            rules::messages(validate::qualified_name(key), key, &at.child("key"), &mut errors);
            let wrong = validate::label_value(text);
            if !wrong.is_empty() {
                errors.invalid(&at.child("value"), text, &wrong.join(";"));
            }
            match value::text(taint, &["effect"]) {
                "" => errors.required(&at.child("effect"), ""),
                effect => scheduling::effect(effect, &at.child("effect"), &mut errors),
            }
            let same = |t: &Value| get(t, "key") == get(taint, "key") && get(t, "effect") == get(taint, "effect");
            if taints[..i].iter().any(same) {
                errors.duplicate_because(&at, taint.clone(), "taints must be unique by key and effect pair");
            }
        }
        for kind in ["capacity", "allocatable"] {
            for (name, amount) in value::at(object, &["status", kind]).and_then(Value::as_object).into_iter().flatten() {
                resource_names::amount(name, amount, &path("status").child(kind).child(name), &mut errors);
            }
        }
        let ranges: Vec<&str> = value::items(object, &["spec", "podCIDRs"]).iter().filter_map(Value::as_str).collect();
        let at = path("spec.podCIDRs");
        for (i, range) in ranges.iter().enumerate() {
            rules::messages(validate::legacy_cidr(range), range, &at.index(i), &mut errors);
        }
        if ranges.len() > 2 || (ranges.len() == 2 && ranges.iter().filter(|r| r.contains(':')).count() != 1) {
            errors.invalid(&at, ranges, "may specify no more than one CIDR for each IP family");
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let at = path("spec");
        let ranges = |of: &Value| value::items(of, &["spec", "podCIDRs"]).to_vec();
        if !ranges(old).is_empty() && ranges(new) != ranges(old) {
            errors.forbidden(&at.child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
        }
        let provider = |of: &Value| value::text(of, &["spec", "providerID"]).to_string();
        if !provider(old).is_empty() && provider(new) != provider(old) {
            errors.forbidden(&at.child("providerID"), "node updates may not change providerID except from \"\" to valid");
        }
        errors.extend(self.validate_status(new, old));
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let addresses = value::items(new, &["status", "addresses"]);
        for (i, address) in addresses.iter().enumerate().filter(|(i, a)| addresses[..*i].contains(a)) {
            errors.duplicate(&path("status.addresses").index(i), address.clone());
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut texts = Vec::new();
        let spec = get(object, "spec");
        if has(spec, "configSource") {
            texts.push("spec.configSource: the feature is removed".into());
        }
        if !value::text(spec, &["externalID"]).is_empty() {
            texts.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
        }
        texts
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
        let mut kernel = value::text(object, &["status", "nodeInfo", "kernelVersion"]).to_string();
        if kernel.is_empty() {
            kernel = "<unknown>".into();
        }
        let architecture = value::text(object, &["status", "nodeInfo", "architecture"]);
        if !architecture.is_empty() {
            kernel = format!("{kernel} ({architecture})");
        }
        vec![
            table::name(object),
            status.into(),
            roles.into(),
            table::age(object, now).into(),
            table::text(object, &["status", "nodeInfo", "kubeletVersion"]),
            address("InternalIP").into(),
            address("ExternalIP").into(),
            info("osImage"),
            kernel.into(),
            info("containerRuntimeVersion"),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        let verbs = &["create", "delete", "get", "patch", "update"];
        vec![Subresource::Connect { name: "proxy", kind: ("", "", "NodeProxyOptions"), verbs }, Subresource::Status]
    }
}

//! A room for names.

use crate::kind::built_in;
use crate::rules::path;
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::{Value, json};
use std::borrow::Cow;

pub struct Namespace;

/// The finalizer in the spec that the namespace controller takes away once all is gone.
const FINALIZER: &str = "kubernetes";

impl Kind for Namespace {
    built_in!("io.k8s.api.core.v1.Namespace", Names::new("", "v1", "Namespace", "namespaces", Scope::Cluster).short(&["ns"]));

    fn verbs(&self) -> &'static [&'static str] {
        &["create", "delete", "get", "list", "patch", "update", "watch"]
    }

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::dns_label(name, is_prefix)
    }

    fn default(&self, object: &mut Value) {
        let name = value::text(object, &["metadata", "name"]).to_string();
        if !name.is_empty() {
            value::default(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        value::set(object, &["status"], json!({"phase": "Active"}));
        let finalizers = value::items(object, &["spec", "finalizers"]);
        if !finalizers.iter().any(|f| f == FINALIZER) {
            let mut finalizers = finalizers.to_vec();
            finalizers.push(FINALIZER.into());
            value::set(object, &["spec", "finalizers"], finalizers);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["spec", "finalizers"]);
        value::carry(new, old, &["status"]);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        finalizers(object, false)
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let going = value::at(new, &["metadata", "deletionTimestamp"]).is_some();
        let phase = value::text(new, &["status", "phase"]);
        let (only, state) = if going { ("Terminating", "not empty") } else { ("Active", "empty") };
        if phase != only {
            errors.invalid(&path("status.Phase"), phase, &format!("may only be '{only}' if `deletionTimestamp` is {state}"));
        }
        errors
    }

    fn held(&self, object: &Value) -> bool {
        !value::items(object, &["spec", "finalizers"]).is_empty()
    }

    fn mark_deleted(&self, object: &mut Value) {
        value::set(object, &["status", "phase"], "Terminating");
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["status.phase".into()]
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Status", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["status", "phase"]), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        let finalize = Subresource::Update {
            name: "finalize",
            verbs: &["update"],
            prepare: only_finalizers,
            validate: |new, _| finalizers(new, true),
        };
        vec![finalize, Subresource::Status]
    }
}

/// Each is fully qualified, or Kubernetes' own.
fn finalizers(object: &Value, numbered: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, name) in value::items(object, &["spec", "finalizers"]).iter().filter_map(Value::as_str).enumerate() {
        let at = path("spec.finalizers");
        let at = if numbered { at.index(i) } else { at };
        errors.extend(validate::finalizer_name(name, &at));
        errors.extend(validate::kube_finalizer_name(name, &at));
    }
    errors
}

/// The old object, with who owns what as the new one has it.
pub(super) fn keep_managed(new: &mut Value, old: &Value) {
    let managed = value::at(new, &["metadata", "managedFields"]).cloned();
    *new = old.clone();
    if let Some(managed) = managed {
        value::set(new, &["metadata", "managedFields"], managed);
    }
}

/// `/finalize` changes the spec's finalizers and nothing else.
fn only_finalizers(new: &mut Value, old: &Value) {
    let finalizers = value::at(new, &["spec", "finalizers"]).cloned();
    keep_managed(new, old);
    match finalizers {
        Some(finalizers) => value::set(new, &["spec", "finalizers"], finalizers),
        None => {
            value::remove(new, &["spec", "finalizers"]);
        }
    }
}

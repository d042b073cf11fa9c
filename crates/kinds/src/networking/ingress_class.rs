//! Who serves which ingresses.

use super::{GROUP, api_group, segments};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct IngressClass;

const CONTROLLER_MAX: usize = 250;

impl Kind for IngressClass {
    built_in!("io.k8s.api.networking.v1.IngressClass", Names::new(GROUP, "v1", "IngressClass", "ingressclasses", Scope::Cluster));

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if value::at(object, &["spec", "parameters"]).is_some() {
            value::default(object, &["spec", "parameters", "scope"], "Cluster");
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let controller = value::text(spec, &["controller"]);
        if controller.len() > CONTROLLER_MAX {
            errors.too_long(&at.child("controller"), CONTROLLER_MAX);
        }
        rules::domain_prefixed_path(controller, &at.child("controller"), &mut errors);
        if let Some(parameters) = spec.get("parameters") {
            validate_parameters(parameters, &at.child("parameters"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable_fields(get(new, "spec"), get(old, "spec"), &["controller"], &path("spec"), &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Controller", "string"), Column::new("Parameters", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let default = value::text(object, &["metadata", "annotations", "ingressclass.kubernetes.io/is-default-class"]) == "true";
        let name = format!("{}{}", value::text(object, &["metadata", "name"]), if default { " (default)" } else { "" });
        let parameters = value::at(object, &["spec", "parameters"]).map_or("<none>".into(), |p| {
            let group = get(p, "apiGroup").as_str().map_or(String::new(), |group| format!(".{group}"));
            format!("{}{group}/{}", value::text(p, &["kind"]), value::text(p, &["name"]))
        });
        vec![name.into(), table::text(object, &["spec", "controller"]), parameters.into(), table::age(object, now).into()]
    }
}

fn validate_parameters(parameters: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    api_group(parameters, "apiGroup", at, errors);
    segments(parameters, &["kind", "name"], at, errors);
    let namespace = get(parameters, "namespace").as_str();
    let namespace_at = at.child("namespace");
    match (get(parameters, "scope").as_str(), namespace) {
        (None, _) => errors.required(&at.child("scope"), ""),
        (Some("Namespace"), None) => errors.required(&namespace_at, "`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), Some(name)) => rules::messages(validate::dns_label(name, false), name, &namespace_at, errors),
        (Some("Cluster"), Some(_)) => errors.forbidden(&namespace_at, "`parameters.scope` is set to 'Cluster'"),
        (Some("Cluster"), None) => {}
        (Some(other), _) => errors.not_supported(&at.child("scope"), other, &["Cluster", "Namespace"]),
    }
}

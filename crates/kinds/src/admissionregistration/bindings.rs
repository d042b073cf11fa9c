//! Where a policy applies, and with which parameters.

use super::{CATEGORIES, GROUP, resource_rules};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct MutatingAdmissionPolicyBinding;
pub struct ValidatingAdmissionPolicyBinding;

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

impl Kind for MutatingAdmissionPolicyBinding {
    built_in!(
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
        Names::new(GROUP, "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", Scope::Cluster).categories(CATEGORIES)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        check(object)
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

impl Kind for ValidatingAdmissionPolicyBinding {
    built_in!(
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        Names::new(GROUP, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", Scope::Cluster)
            .categories(CATEGORIES)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = check(object);
        let (actions, at) = (value::items(object, &["spec", "validationActions"]), path("spec.validationActions"));
        if actions.is_empty() {
            errors.required(&at, "at least one validation action is required");
        }
        for (i, action) in actions.iter().enumerate() {
            if !ACTIONS.iter().any(|a| action == a) {
                errors.not_supported(&at.index(i), action.clone(), &ACTIONS);
            }
            if actions[..i].contains(action) {
                errors.duplicate(&at.index(i), action.clone());
            }
        }
        if actions.iter().any(|a| a == "Deny") && actions.iter().any(|a| a == "Warn") {
            let message = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
            errors.invalid(&at, actions.to_vec(), message);
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

fn default(object: &mut Value) {
    if let Some(resources) = value::at_mut(object, &["spec", "matchResources"]) {
        resource_rules::default_match(resources);
    }
}

fn check(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (spec, at) = (get(object, "spec"), path("spec"));
    match value::text(spec, &["policyName"]) {
        "" => errors.required(&at.child("policyName"), ""),
        name => rules::messages(validate::dns_subdomain(name, false), name, &at.child("policyName"), &mut errors),
    }
    if let Some(param) = spec.get("paramRef") {
        check_param(param, &at.child("paramRef"), &mut errors);
    }
    if let Some(resources) = spec.get("matchResources") {
        resource_rules::check_match(resources, &at.child("matchResources"), &mut errors);
    }
    errors
}

fn check_param(param: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (name, selector) = (value::text(param, &["name"]), param.get("selector"));
    rules::messages(validate::path_segment(name, false), name, &at.child("name"), errors);
    if let Some(selector) = selector {
        errors.extend(validate::label_selector(selector, &at.child("selector")));
    }
    match (name.is_empty(), selector.is_some()) {
        (false, true) => {
            for field in ["name", "selector"] {
                errors.forbidden(&at.child(field), "name and selector are mutually exclusive");
            }
        }
        (true, false) => errors.required(at, "one of name or selector must be specified"),
        _ => {}
    }
    rules::one_of(value::text(param, &["parameterNotFoundAction"]), &["Allow", "Deny"], &at.child("parameterNotFoundAction"), errors);
}

fn columns() -> Vec<Column> {
    vec![Column::name(), Column::new("PolicyName", "string"), Column::new("ParamRef", "string"), Column::age()]
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let param = value::at(object, &["spec", "paramRef"]).map_or("<unset>".into(), |p| {
        let (name, namespace) = (value::text(p, &["name"]), value::text(p, &["namespace"]));
        match (name.is_empty(), namespace.is_empty()) {
            (false, false) => format!("{namespace}/{name}"),
            (false, true) => format!("*/{name}"),
            (true, _) => p.get("selector").map_or("<unset>".into(), table::label_selector),
        }
    });
    vec![table::name(object), table::text(object, &["spec", "policyName"]), param.into(), table::age(object, now).into()]
}

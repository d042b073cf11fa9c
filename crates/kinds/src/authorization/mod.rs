//! authorization.k8s.io/v1: may one do that. Answered, never kept.

use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Kind, Names, Scope};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "authorization.k8s.io";

struct LocalSubjectAccessReview;
struct SelfSubjectAccessReview;
struct SelfSubjectRulesReview;
struct SubjectAccessReview;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(LocalSubjectAccessReview),
        Arc::new(SelfSubjectAccessReview),
        Arc::new(SelfSubjectRulesReview),
        Arc::new(SubjectAccessReview),
    ]
}

macro_rules! review {
    ($kind:ident, $definition:literal, $plural:literal, $scope:ident, $validate:expr) => {
        impl Kind for $kind {
            built_in!($definition, Names::new(GROUP, "v1", stringify!($kind), $plural, Scope::$scope));

            fn stored(&self) -> bool {
                false
            }

            fn verbs(&self) -> &'static [&'static str] {
                &["create"]
            }

            fn validate(&self, object: &Value) -> FieldErrors {
                let validate: fn(&Value) -> FieldErrors = $validate;
                validate(object)
            }
        }
    };
}

review!(LocalSubjectAccessReview, "io.k8s.api.authorization.v1.LocalSubjectAccessReview", "localsubjectaccessreviews", Namespaced, local);
review!(SelfSubjectAccessReview, "io.k8s.api.authorization.v1.SelfSubjectAccessReview", "selfsubjectaccessreviews", Cluster, |object| {
    let mut errors = attributes(object);
    no_metadata(object, &mut errors);
    errors
});
review!(SelfSubjectRulesReview, "io.k8s.api.authorization.v1.SelfSubjectRulesReview", "selfsubjectrulesreviews", Cluster, |_| {
    FieldErrors::new()
});
review!(SubjectAccessReview, "io.k8s.api.authorization.v1.SubjectAccessReview", "subjectaccessreviews", Cluster, |object| {
    let mut errors = subject(object);
    no_metadata(object, &mut errors);
    errors
});

fn local(object: &Value) -> FieldErrors {
    let mut errors = subject(object);
    let namespace = value::text(object, &["metadata", "namespace"]);
    let spec = get(object, "spec");
    if let Some(resource) = spec.get("resourceAttributes") {
        let found = value::text(resource, &["namespace"]);
        if found != namespace {
            errors.invalid(&path("spec.resourceAttributes.namespace"), found, "must match metadata.namespace");
        }
    }
    if let Some(other) = spec.get("nonResourceAttributes") {
        errors.invalid(&path("spec.nonResourceAttributes"), other.clone(), "disallowed on this kind of request");
    }
    errors
}

fn subject(object: &Value) -> FieldErrors {
    let mut errors = attributes(object);
    let spec = get(object, "spec");
    if value::text(spec, &["user"]).is_empty() && value::items(spec, &["groups"]).is_empty() {
        errors.invalid(&path("spec.user"), "", "at least one of user or group must be specified");
    }
    errors
}

fn attributes(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (spec, at) = (get(object, "spec"), path("spec"));
    match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(_), Some(other)) => {
            errors.invalid(&at.child("nonResourceAttributes"), other.clone(), "cannot be specified in combination with resourceAttributes");
        }
        (None, None) => {
            let message = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&at.child("resourceAttributes"), Value::Null, message);
        }
        (Some(resource), None) => {
            for name in ["fieldSelector", "labelSelector"] {
                if let Some(selector) = resource.get(name) {
                    validate_selector(selector, &at.child("resourceAttributes").child(name), &mut errors);
                }
            }
        }
        (None, Some(_)) => {}
    }
    errors
}

fn validate_selector(selector: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (raw, requirements) = (value::text(selector, &["rawSelector"]), value::items(selector, &["requirements"]));
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => errors.invalid(&at.child("rawSelector"), raw, "may not specified at the same time as requirements"),
        (true, true) => {
            errors.required(&at.child("requirements"), &format!("when {at} is specified, requirements or rawSelector is required"));
        }
        _ => {}
    }
}

/// A review is about its spec alone.
fn no_metadata(object: &Value, errors: &mut FieldErrors) {
    let metadata = get(object, "metadata");
    let said = |(key, found): (&String, &Value)| key != "managedFields" && key != "creationTimestamp" && !found.is_null();
    if metadata.as_object().is_some_and(|m| m.iter().any(said)) {
        errors.invalid(&path("metadata"), metadata.clone(), "must be empty");
    }
}

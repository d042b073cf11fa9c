//! Sets of permissions, in a namespace and in the cluster.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct Role;
pub struct ClusterRole;

impl Kind for Role {
    built_in!("io.k8s.api.rbac.v1.Role", Names::new(GROUP, "v1", "Role", "roles", Scope::Namespaced));

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::path_segment(name, is_prefix)
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        policy_rules(object, true)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        row(object)
    }
}

impl Kind for ClusterRole {
    built_in!("io.k8s.api.rbac.v1.ClusterRole", Names::new(GROUP, "v1", "ClusterRole", "clusterroles", Scope::Cluster));

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::path_segment(name, is_prefix)
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = policy_rules(object, false);
        if let Some(aggregation) = object.get("aggregationRule") {
            let at = path("aggregationRule.clusterRoleSelectors");
            let selectors = value::items(aggregation, &["clusterRoleSelectors"]);
            if selectors.is_empty() {
                errors.required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
            }
            for (i, selector) in selectors.iter().enumerate() {
                errors.extend(validate::label_selector(selector, &at.index(i)));
            }
        }
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        row(object)
    }
}

fn columns() -> Vec<Column> {
    vec![Column::name(), Column::new("Created At", "date")]
}

fn row(object: &Value) -> Vec<Value> {
    vec![table::name(object), get(get(object, "metadata"), "creationTimestamp").clone()]
}

fn policy_rules(object: &Value, namespaced: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, rule) in value::items(object, &["rules"]).iter().enumerate() {
        let at = path("rules").index(i);
        let empty = |name: &str| value::items(rule, &[name]).is_empty();
        if empty("verbs") {
            errors.required(&at.child("verbs"), "verbs must contain at least one value");
        }
        if !empty("nonResourceURLs") {
            let (urls, at) = (get(rule, "nonResourceURLs"), at.child("nonResourceURLs"));
            if namespaced {
                errors.invalid(&at, urls.clone(), "namespaced rules cannot apply to non-resource URLs");
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                errors.invalid(&at, urls.clone(), "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if empty("apiGroups") {
            errors.required(&at.child("apiGroups"), "resource rules must supply at least one api group");
        }
        if empty("resources") {
            errors.required(&at.child("resources"), "resource rules must supply at least one resource");
        }
    }
    errors
}

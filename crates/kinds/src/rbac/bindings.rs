//! Who has a role, in a namespace and in the cluster.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct RoleBinding;
pub struct ClusterRoleBinding;

impl Kind for RoleBinding {
    built_in!("io.k8s.api.rbac.v1.RoleBinding", Names::new(GROUP, "v1", "RoleBinding", "rolebindings", Scope::Namespaced));

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::path_segment(name, is_prefix)
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        binding(object, &["ClusterRole", "Role"], true)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        same_role(new, old)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

impl Kind for ClusterRoleBinding {
    built_in!(
        "io.k8s.api.rbac.v1.ClusterRoleBinding",
        Names::new(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings", Scope::Cluster)
    );

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::path_segment(name, is_prefix)
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        binding(object, &["ClusterRole"], false)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        same_role(new, old)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

fn default(object: &mut Value) {
    if value::text(object, &["roleRef", "apiGroup"]).is_empty() {
        value::set(object, &["roleRef", "apiGroup"], GROUP);
    }
    for subject in value::items_mut(object, &["subjects"]) {
        if matches!(value::text(subject, &["kind"]), "User" | "Group") && value::text(subject, &["apiGroup"]).is_empty() {
            value::set(subject, &["apiGroup"], GROUP);
        }
    }
}

fn binding(object: &Value, role_kinds: &[&str], namespaced: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (role, at) = (get(object, "roleRef"), path("roleRef"));
    let (group, kind, name) = (value::text(role, &["apiGroup"]), value::text(role, &["kind"]), value::text(role, &["name"]));
    if group != GROUP {
        errors.not_supported(&at.child("apiGroup"), group, &[GROUP]);
    }
    if !role_kinds.contains(&kind) {
        errors.not_supported(&at.child("kind"), kind, role_kinds);
    }
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        rules::messages(validate::path_segment(name, false), name, &at.child("name"), &mut errors);
    }
    for (i, subject) in value::items(object, &["subjects"]).iter().enumerate() {
        validate_subject(subject, namespaced, &path("subjects").index(i), &mut errors);
    }
    errors
}

fn validate_subject(subject: &Value, namespaced: bool, at: &FieldPath, errors: &mut FieldErrors) {
    let (name, group) = (value::text(subject, &["name"]), value::text(subject, &["apiGroup"]));
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    }
    match value::text(subject, &["kind"]) {
        "ServiceAccount" => {
            if !name.is_empty() {
                rules::messages(validate::dns_subdomain(name, false), name, &at.child("name"), errors);
            }
            if !group.is_empty() {
                errors.not_supported(&at.child("apiGroup"), group, &[""]);
            }
            if !namespaced && value::text(subject, &["namespace"]).is_empty() {
                errors.required(&at.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.not_supported(&at.child("apiGroup"), group, &[GROUP]);
            }
        }
        other => errors.not_supported(&at.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

fn same_role(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if get(new, "roleRef") != get(old, "roleRef") {
        errors.invalid(&path("roleRef"), get(new, "roleRef").clone(), "cannot change roleRef");
    }
    errors
}

fn columns() -> Vec<Column> {
    let wide = ["Users", "Groups", "ServiceAccounts"].map(|name| Column::wide(name, "string"));
    [Column::name(), Column::new("Role", "string"), Column::age()].into_iter().chain(wide).collect()
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = value::items(object, &["subjects"]);
    let of = |kind: &str| {
        let name = |s: &Value| match kind {
            "ServiceAccount" => format!("{}/{}", value::text(s, &["namespace"]), value::text(s, &["name"])),
            _ => value::text(s, &["name"]).to_string(),
        };
        subjects.iter().filter(|s| value::text(s, &["kind"]) == kind).map(name).collect::<Vec<_>>().join(", ")
    };
    vec![
        table::name(object),
        format!("{}/{}", value::text(object, &["roleRef", "kind"]), value::text(object, &["roleRef", "name"])).into(),
        table::age(object, now).into(),
        of("User").into(),
        of("Group").into(),
        of("ServiceAccount").into(),
    ]
}

//! An address of a service, taken from a service network.

use super::{GROUP, segments};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, GroupResource, validate, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct IPAddress;

impl Kind for IPAddress {
    built_in!("io.k8s.api.networking.v1.IPAddress", Names::new(GROUP, "v1", "IPAddress", "ipaddresses", Scope::Cluster).short(&["ip"]));

    fn check_name(&self, name: &str, _is_prefix: bool) -> Vec<String> {
        validate::ip(name)
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let at = path("spec.parentRef");
        let Some(parent) = value::at(object, &["spec", "parentRef"]) else {
            errors.required(&at, "");
            return errors;
        };
        let (group, namespace) = (value::text(parent, &["group"]), value::text(parent, &["namespace"]));
        if !group.is_empty() {
            rules::messages(validate::dns_subdomain(group, false), group, &at.child("group"), &mut errors);
        }
        segments(parent, &["resource", "name"], &at, &mut errors);
        rules::messages(validate::path_segment(namespace, false), namespace, &at.child("namespace"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable_fields(get(new, "spec"), get(old, "spec"), &["parentRef"], &path("spec"), &mut errors);
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec![
            "spec.parentRef.group".into(),
            "spec.parentRef.resource".into(),
            "spec.parentRef.namespace".into(),
            "spec.parentRef.name".into(),
        ]
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("ParentRef", "string")]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let parent = value::at(object, &["spec", "parentRef"]).map_or("<none>".into(), |p| {
            let resource = GroupResource::new(value::text(p, &["group"]), value::text(p, &["resource"])).to_string().to_lowercase();
            let namespace = match value::text(p, &["namespace"]) {
                "" => String::new(),
                namespace => format!("/{namespace}"),
            };
            format!("{resource}{namespace}/{}", value::text(p, &["name"]))
        });
        vec![table::name(object), parent.into()]
    }
}

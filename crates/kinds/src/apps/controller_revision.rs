//! A past state of a stateful set or daemon set, kept for going back to it.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, GroupKind, GroupVersion, value};
use serde_json::Value;

pub struct ControllerRevision;

impl Kind for ControllerRevision {
    built_in!(
        "io.k8s.api.apps.v1.ControllerRevision",
        Names::new("apps", "v1", "ControllerRevision", "controllerrevisions", Scope::Namespaced)
    );

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if let Some(revision) = value::int(object, &["revision"])
            && revision < 0
        {
            errors.invalid(&path("revision"), revision, rules::NOT_NEGATIVE);
        }
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        match get(object, "data") {
            Value::Null => errors.required(&path("data"), "data is mandatory"),
            Value::Object(_) => {}
            _ => errors.required(&path("data"), "data must be a valid JSON object"),
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "data"), get(old, "data"), &path("data"), &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Controller", "string"), Column::new("Revision", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let owner = value::items(object, &["metadata", "ownerReferences"]).iter().find(|o| value::flag(o, &["controller"]));
        let controller = owner.map_or("<none>".into(), |owner| {
            let group = GroupVersion::parse(value::text(owner, &["apiVersion"])).group;
            let kind = GroupKind::new(group, value::text(owner, &["kind"])).to_string().to_lowercase();
            format!("{kind}/{}", value::text(owner, &["name"]))
        });
        vec![table::name(object), controller.into(), table::int(object, &["revision"]), table::age(object, now).into()]
    }
}

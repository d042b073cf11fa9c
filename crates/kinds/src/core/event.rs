//! What happened to an object.

use crate::kind::built_in;
use crate::rules::path;
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct Event;

const FIELDS: [&str; 11] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Those of both views of an event.
pub fn columns() -> Vec<Column> {
    vec![
        Column::new("Last Seen", "string"),
        Column::new("Type", "string"),
        Column::new("Reason", "string"),
        Column::new("Object", "string"),
        Column::wide("Subobject", "string"),
        Column::wide("Source", "string"),
        Column::new("Message", "string"),
        Column::wide("First Seen", "string"),
        Column::wide("Count", "string"),
        Column { format: "name".into(), ..Column::wide("Name", "string") },
    ]
}

impl Kind for Event {
    built_in!("io.k8s.api.core.v1.Event", Names::new("", "v1", "Event", "events", Scope::Namespaced).short(&["ev"]));

    fn create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let namespace = value::text(object, &["metadata", "namespace"]);
        let involved = value::text(object, &["involvedObject", "namespace"]);
        // What has no namespace is told of in `default`.
        let fits = if involved.is_empty() { matches!(namespace, "" | "default" | "kube-system") } else { namespace == involved };
        if !fits {
            errors.invalid(&path("involvedObject.namespace"), involved, "does not match event.namespace");
        }
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        FIELDS.iter().map(|f| Cow::Borrowed(*f)).collect()
    }

    fn selectable(&self, object: &Value, field: &str) -> String {
        if field == "source" {
            let component = value::text(object, &["source", "component"]);
            return if component.is_empty() { value::text(object, &["reportingComponent"]) } else { component }.to_string();
        }
        value::text(object, &field.split('.').collect::<Vec<_>>()).to_string()
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let first_of = |paths: &[&[&str]]| {
            let found = paths.iter().find(|p| !value::text(object, p).is_empty());
            found.map_or("<unknown>".to_string(), |p| table::since(object, p, now))
        };
        let first = first_of(&[&["firstTimestamp"], &["eventTime"]]);
        let last = first_of(&[&["series", "lastObservedTime"], &["lastTimestamp"], &["eventTime"]]);
        let series = value::int(object, &["series", "count"]);
        let count = series.or(value::int(object, &["count"])).filter(|c| *c != 0).unwrap_or(1);
        let kind = value::text(object, &["involvedObject", "kind"]).to_lowercase();
        let name = value::text(object, &["involvedObject", "name"]);
        let involved = if name.is_empty() { kind } else { format!("{kind}/{name}") };
        let component = self.selectable(object, "source");
        let host = value::text(object, &["source", "host"]);
        let source = if host.is_empty() { component } else { format!("{component}, {host}") };
        vec![
            last.into(),
            table::text(object, &["type"]),
            table::text(object, &["reason"]),
            involved.into(),
            table::text(object, &["involvedObject", "fieldPath"]),
            source.into(),
            value::text(object, &["message"]).trim().into(),
            first.into(),
            count.to_string().into(),
            table::name(object),
        ]
    }
}

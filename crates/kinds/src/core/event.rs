//! What happened to an object.

use crate::kind::built_in;
use crate::rules::{self, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

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

/// Upstream's `--event-ttl`.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

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

/// What is asked of events in either view. `reporter` is what this one calls who reports.
pub fn legacy(object: &Value, reporter: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let text = |name: &str| value::text(object, &[name]);
    let namespace = value::text(object, &["metadata", "namespace"]);
    let involved = value::text(object, &["involvedObject", "namespace"]);
    let timed = !text("eventTime").is_empty();
    // What has no namespace is told of in `default`.
    let fits = match (involved.is_empty(), timed) {
        (true, false) => matches!(namespace, "" | "default"),
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (false, false) => namespace == involved,
        (false, true) => true,
    };
    if !fits {
        errors.invalid(&path("involvedObject.namespace"), involved, "does not match event.namespace");
    }
    if timed {
        let at = path(reporter);
        let found = text("reportingComponent");
        if found.is_empty() {
            errors.required(&at, "");
        }
        rules::messages(validate::qualified_name(found), found, &at, &mut errors);
        for (name, most) in [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)] {
            if text(name).is_empty() && name != "message" {
                errors.required(&path(name), "");
            }
            if text(name).len() > most {
                errors.invalid(&path(name), "", &format!("can have at most {most} characters"));
            }
        }
    }
    rules::dns_subdomain(namespace, &path("namespace"), &mut errors);
    errors
}

impl Kind for Event {
    built_in!("io.k8s.api.core.v1.Event", Names::new("", "v1", "Event", "events", Scope::Namespaced).short(&["ev"]));

    fn time_to_live(&self) -> Option<Duration> {
        Some(TIME_TO_LIVE)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        legacy(object, "reportingComponent")
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
        let host = match value::text(object, &["source", "host"]) {
            "" => value::text(object, &["reportingInstance"]),
            host => host,
        };
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
            count.into(),
            table::name(object),
        ]
    }
}

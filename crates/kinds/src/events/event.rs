//! Something that happened to an object.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, StoredAs, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Duration;

pub struct Event;

const TEXT_MAX: usize = 128;
const NOTE_MAX: usize = 1024;
/// Fields by their names in events.k8s.io/v1 and in core/v1.
const RENAMED: [(&str, &str); 6] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
];

impl Kind for Event {
    built_in!("io.k8s.api.events.v1.Event", Names::new("events.k8s.io", "v1", "Event", "events", Scope::Namespaced).short(&["ev"]));

    fn time_to_live(&self) -> Option<Duration> {
        Some(crate::core::event::TIME_TO_LIVE)
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let text = |name: &str| value::text(object, &[name]);
        let namespace = value::text(object, &["metadata", "namespace"]);
        let regarding = value::text(object, &["regarding", "namespace"]);
        if text("eventTime").is_empty() {
            let expected = if regarding.is_empty() { matches!(namespace, "" | "default") } else { namespace == regarding };
            if !expected {
                errors.invalid(&path("involvedObject.namespace"), regarding, "does not match event.namespace");
            }
            errors.required(&path("eventTime"), "");
        } else {
            if regarding.is_empty() && !matches!(namespace, "default" | "kube-system") {
                errors.invalid(&path("involvedObject.namespace"), regarding, "does not match event.namespace");
            }
            let controller = text("reportingController");
            if controller.is_empty() {
                errors.required(&path("reportingController"), "");
            }
            rules::messages(validate::qualified_name(controller), controller, &path("reportingController"), &mut errors);
            for name in ["reportingInstance", "action", "reason"] {
                if text(name).is_empty() {
                    errors.required(&path(name), "");
                }
                if text(name).len() > TEXT_MAX {
                    errors.invalid(&path(name), "", &format!("can have at most {TEXT_MAX} characters"));
                }
            }
            if text("note").len() > NOTE_MAX {
                errors.invalid(&path("message"), "", &format!("can have at most {NOTE_MAX} characters"));
            }
        }
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        series(object, &mut errors);
        let ty = value::text(object, &["type"]);
        if !matches!(ty, "Normal" | "Warning") {
            errors.invalid(&path("type"), "", &format!("has invalid value: {ty}"));
        }
        let unset = [
            ("firstTimestamp", value::text(object, &["deprecatedFirstTimestamp"]).is_empty()),
            ("lastTimestamp", value::text(object, &["deprecatedLastTimestamp"]).is_empty()),
            ("count", value::int(object, &["deprecatedCount"]).unwrap_or(0) == 0),
            (
                "source",
                value::text(object, &["deprecatedSource", "component"]).is_empty()
                    && value::text(object, &["deprecatedSource", "host"]).is_empty(),
            ),
        ];
        for (name, _) in unset.into_iter().filter(|(_, unset)| !unset) {
            errors.invalid(&path(name), "", "needs to be unset");
        }
        errors
    }

    /// Only the series of an event goes on.
    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if get(new, "series") != get(old, "series") {
            series(new, &mut errors);
        }
        for (name, shown) in [
            ("regarding", "involvedObject"),
            ("reason", "reason"),
            ("note", "message"),
            ("deprecatedSource", "source"),
            ("deprecatedFirstTimestamp", "firstTimestamp"),
            ("deprecatedLastTimestamp", "lastTimestamp"),
            ("deprecatedCount", "count"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("action", "action"),
            ("related", "related"),
            ("reportingController", "reportingController"),
            ("reportingInstance", "reportingInstance"),
        ] {
            rules::immutable(get(new, name), get(old, name), &path(shown), &mut errors);
        }
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        let regarding = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];
        let mut fields: Vec<Cow<'static, str>> = regarding.iter().map(|f| format!("regarding.{f}").into()).collect();
        fields.extend(["reason", "reportingController", "type"].map(Cow::Borrowed));
        fields
    }

    fn columns(&self) -> Vec<Column> {
        crate::core::event::columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |path: &[&str]| value::text(object, path);
        let time = |texts: &[&str]| table::since_text(texts.iter().find(|t| !t.is_empty()).copied().unwrap_or_default(), now);
        let first = [text(&["deprecatedFirstTimestamp"]), text(&["eventTime"])];
        let last = match object.get("series") {
            Some(_) => time(&[text(&["series", "lastObservedTime"])]),
            None => time(&[text(&["deprecatedLastTimestamp"]), first[0], first[1]]),
        };
        let count = value::int(object, &["series", "count"]).or(value::int(object, &["deprecatedCount"]).filter(|n| *n > 0)).unwrap_or(1);
        let (kind, name) = (text(&["regarding", "kind"]).to_lowercase(), text(&["regarding", "name"]));
        let or = |a: &'_ str, b: &'_ str| if a.is_empty() { b.to_string() } else { a.to_string() };
        let component = or(text(&["deprecatedSource", "component"]), text(&["reportingController"]));
        let instance = or(text(&["deprecatedSource", "host"]), text(&["reportingInstance"]));
        vec![
            last.into(),
            text(&["type"]).into(),
            text(&["reason"]).into(),
            if name.is_empty() { kind.into() } else { format!("{kind}/{name}").into() },
            text(&["regarding", "fieldPath"]).into(),
            if instance.is_empty() { component.into() } else { format!("{component}, {instance}").into() },
            text(&["note"]).trim().into(),
            time(&first).into(),
            count.into(),
            table::name(object),
        ]
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn stored_as(&self) -> Option<StoredAs> {
        Some(StoredAs { group: "", version: "v1", to_stored, from_stored })
    }
}

fn series(object: &Value, errors: &mut FieldErrors) {
    let Some(series) = object.get("series") else { return };
    if value::int(series, &["count"]).unwrap_or(0) < 2 {
        errors.invalid(&path("series.count"), "", "should be at least 2");
    }
    if value::text(series, &["lastObservedTime"]).is_empty() {
        errors.required(&path("series.lastObservedTime"), "");
    }
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(found) = value::remove(object, &[from]) {
        value::set(object, &[to], found);
    }
}

/// Core events show their source and counters even where they have none.
fn to_stored(object: &mut Value) {
    for (new, old) in RENAMED {
        rename(object, new, old);
    }
    rename(object, "deprecatedCount", "count");
    value::default(object, &["involvedObject"], json!({}));
    value::default(object, &["source"], json!({}));
    value::default(object, &["reportingComponent"], "");
    value::default(object, &["reportingInstance"], "");
    value::set(object, &["apiVersion"], "v1");
}

fn from_stored(object: &mut Value) {
    for (new, old) in RENAMED {
        rename(object, old, new);
    }
    rename(object, "count", "deprecatedCount");
    value::default(object, &["eventTime"], Value::Null);
    value::set(object, &["apiVersion"], "events.k8s.io/v1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_way_to_core_and_back() {
        let mut event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
            "eventTime": "2026-01-02T03:04:05.000006Z", "regarding": {"kind": "Pod", "name": "p"}, "note": "n", "type": "Normal",
            "reason": "R", "action": "A", "reportingController": "c/x", "reportingInstance": "i", "deprecatedSource": {"component": "s"},
        });
        let before = event.clone();
        to_stored(&mut event);
        assert_eq!(value::text(&event, &["involvedObject", "name"]), "p");
        assert_eq!(value::text(&event, &["message"]), "n");
        from_stored(&mut event);
        assert_eq!(event, before);
    }
}

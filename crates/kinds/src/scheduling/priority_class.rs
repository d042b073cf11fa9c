//! A name for a priority.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;

pub struct PriorityClass;

const USER_MAX: i64 = 1_000_000_000;
/// The classes of the system itself, with their values.
pub const SYSTEM: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

impl Kind for PriorityClass {
    built_in!(
        "io.k8s.api.scheduling.v1.PriorityClass",
        Names::new("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", Scope::Cluster).short(&["pc"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn bumps_generation(&self, _new: &Value, _old: &Value) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        value::default(object, &["preemptionPolicy"], "PreemptLowerPriority");
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (name, number) = (value::text(object, &["metadata", "name"]), value::int(object, &["value"]).unwrap_or(0));
        if name.starts_with("system-") {
            let problem = match SYSTEM.iter().find(|(known, _)| *known == name) {
                None => Some(format!("{name} is not a known system priority class")),
                Some((_, known)) if *known != number => Some(format!("value of {name} PriorityClass must be {known}")),
                Some(_) if value::flag(object, &["globalDefault"]) => Some(format!("globalDefault of {name} PriorityClass must be false")),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                let detail = format!("priority class names with 'system-' prefix are reserved for system use only. error: {problem}");
                errors.forbidden(&path("metadata.name"), &detail);
            }
        } else if number > USER_MAX {
            errors.forbidden(&path("value"), &format!("maximum allowed value of a user defined priority is {USER_MAX}"));
        }
        let policy = value::text(object, &["preemptionPolicy"]);
        if object.get("preemptionPolicy").is_some() {
            rules::one_of(policy, &["Never", "PreemptLowerPriority"], &path("preemptionPolicy"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if value::int(new, &["value"]).unwrap_or(0) != value::int(old, &["value"]).unwrap_or(0) {
            errors.forbidden(&path("value"), "may not be changed in an update.");
        }
        rules::immutable(get(new, "preemptionPolicy"), get(old, "preemptionPolicy"), &path("preemptionPolicy"), &mut errors);
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Value", "integer"),
            Column::new("Global-Default", "boolean"),
            Column::age(),
            Column::new("PreemptionPolicy", "string"),
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            table::name(object),
            table::int(object, &["value"]),
            value::flag(object, &["globalDefault"]).into(),
            table::age(object, now).into(),
            table::text(object, &["preemptionPolicy"]),
        ]
    }
}

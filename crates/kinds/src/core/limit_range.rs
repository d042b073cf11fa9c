//! What one pod, container or claim of a namespace may ask for, and what it asks for unsaid.

use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, Quantity, value};
use serde_json::Value;

pub struct LimitRange;

fn amount(item: &Value, kind: &str, name: &str) -> Option<Quantity> {
    value::at(item, &[kind, name]).and_then(|q| Quantity::from_value(q).ok())
}

impl Kind for LimitRange {
    built_in!("io.k8s.api.core.v1.LimitRange", Names::new("", "v1", "LimitRange", "limitranges", Scope::Namespaced).short(&["limits"]));

    fn default(&self, object: &mut Value) {
        for item in value::items_mut(object, &["spec", "limits"]) {
            if value::text(item, &["type"]) != "Container" {
                continue;
            }
            // A default limit follows the maximum, a default request the limit or the minimum.
            for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
                for (name, found) in get(item, from).as_object().cloned().into_iter().flatten() {
                    value::default(item, &[to, &name], found);
                }
            }
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (i, item) in value::items(object, &["spec", "limits"]).iter().enumerate() {
            let at = path("spec.limits").index(i);
            for (low, high) in [
                ("min", "max"),
                ("min", "default"),
                ("defaultRequest", "default"),
                ("default", "max"),
                ("min", "defaultRequest"),
                ("defaultRequest", "max"),
            ] {
                for (name, found) in get(item, low).as_object().into_iter().flatten() {
                    let (Some(less), Some(mut more)) = (amount(item, low, name), amount(item, high, name)) else { continue };
                    let limit = value::text(item, &[high, name]).to_string();
                    more.sub(&less);
                    if more.signum() < 0 {
                        let words = |n: &str| {
                            match n {
                                "defaultRequest" => "default request",
                                other => match other {
                                    "default" => "default",
                                    _ => other,
                                },
                            }
                            .to_string()
                        };
                        let text =
                            format!("{} value {} is greater than {} value {limit}", words(low), found.as_str().unwrap_or(""), words(high));
                        errors.invalid(&at.child(low).key(name), found.clone(), &text);
                    }
                }
            }
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Created At", "string")]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["metadata", "creationTimestamp"])]
    }
}

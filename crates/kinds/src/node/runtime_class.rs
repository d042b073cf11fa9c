//! A handler of the container runtime, by a name that pods use.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct RuntimeClass;

impl Kind for RuntimeClass {
    built_in!("io.k8s.api.node.v1.RuntimeClass", Names::new("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", Scope::Cluster));

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        match value::text(object, &["handler"]) {
            "" => errors.required(&path("handler"), ""),
            handler => rules::messages(validate::dns_label(handler, false), handler, &path("handler"), &mut errors),
        }
        if let Some(selector) = value::at(object, &["scheduling", "nodeSelector"]) {
            errors.extend(validate::labels(selector, &path("scheduling.nodeSelector")));
        }
        let tolerations = value::items(object, &["scheduling", "tolerations"]);
        let key = |t: &Value| ["key", "operator", "value", "effect"].map(|name| value::text(t, &[name]).to_string());
        for (i, toleration) in tolerations.iter().enumerate() {
            if tolerations[..i].iter().any(|t| key(t) == key(toleration)) {
                errors.duplicate(&path("scheduling.tolerations").index(i), toleration.clone());
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "handler"), get(old, "handler"), &path("handler"), &mut errors);
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Handler", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["handler"]), table::age(object, now).into()]
    }
}

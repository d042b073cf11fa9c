//! Which CSI drivers run on a node, and how they know it.

use super::{GROUP, driver_name};
use crate::kind::built_in;
use crate::rules::{self, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct CSINode;

const NODE_ID_MAX: usize = 256;

impl Kind for CSINode {
    built_in!("io.k8s.api.storage.v1.CSINode", Names::new(GROUP, "v1", "CSINode", "csinodes", Scope::Cluster));

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let drivers = value::items(object, &["spec", "drivers"]);
        for (i, driver) in drivers.iter().enumerate() {
            let at = path("spec.drivers").index(i);
            let (name, id) = (value::text(driver, &["name"]), value::text(driver, &["nodeID"]));
            driver_name(name, &at.child("name"), &mut errors);
            if id.is_empty() {
                errors.required(&at.child("nodeID"), "");
            }
            if id.len() > NODE_ID_MAX {
                errors.invalid(&at.child("nodeID"), id, &format!("must be {NODE_ID_MAX} characters or less"));
            }
            if let Some(allocatable) = driver.get("allocatable") {
                rules::not_negative(allocatable, &["count"], &at.child("allocatable"), &mut errors);
            }
            if drivers[..i].iter().any(|d| value::text(d, &["name"]) == name) {
                errors.duplicate(&at.child("name"), name);
            }
            let keys = value::items(driver, &["topologyKeys"]);
            for (i, key) in keys.iter().enumerate() {
                let text = key.as_str().unwrap_or_default();
                if text.is_empty() {
                    errors.required(&at, "");
                }
                if keys[..i].contains(key) {
                    errors.duplicate(&at, text);
                }
                rules::messages(validate::qualified_name(text), text, &at, &mut errors);
            }
        }
        errors
    }

    /// A driver may come and go, and change how much it can hold, but nothing else.
    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            value::remove(&mut driver, &["allocatable"]);
            driver
        };
        for was in value::items(old, &["spec", "drivers"]) {
            let same_name = |now: &&Value| value::text(now, &["name"]) == value::text(was, &["name"]);
            for now in value::items(new, &["spec", "drivers"]).iter().filter(same_name) {
                rules::immutable(&fixed(now), &fixed(was), &path("spec.drivers"), &mut errors);
            }
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Drivers", "integer"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let drivers = value::items(object, &["spec", "drivers"]).len();
        vec![table::name(object), drivers.into(), table::age(object, now).into()]
    }
}

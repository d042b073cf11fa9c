//! Attributes that a driver can change on volumes it has made.

use super::{GROUP, parameters, provisioner};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;

pub struct VolumeAttributesClass;

impl Kind for VolumeAttributesClass {
    built_in!(
        "io.k8s.api.storage.v1.VolumeAttributesClass",
        Names::new(GROUP, "v1", "VolumeAttributesClass", "volumeattributesclasses", Scope::Cluster).short(&["vac"])
    );

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        provisioner(value::text(object, &["driverName"]), &path("driverName"), &mut errors);
        parameters(get(object, "parameters"), true, &path("parameters"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for name in ["driverName", "parameters"] {
            if !rules::same(get(new, name), get(old, name)) {
                errors.forbidden(&path(name), &format!("updates to {name} are forbidden."));
            }
        }
        errors
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("DriverName", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["driverName"]), table::age(object, now).into()]
    }
}

//! Devices that a driver offers.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct ResourceSlice;

const DEVICES_MAX: usize = 128;

impl Kind for ResourceSlice {
    built_in!("io.k8s.api.resource.v1.ResourceSlice", Names::new(GROUP, "v1", "ResourceSlice", "resourceslices", Scope::Cluster));

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        match value::text(spec, &["driver"]) {
            "" => errors.required(&at.child("driver"), ""),
            name => rules::messages(validate::dns_subdomain(name, false), name, &at.child("driver"), &mut errors),
        }
        let pool = get(spec, "pool");
        if value::text(pool, &["name"]).is_empty() {
            errors.required(&at.child("pool").child("name"), "");
        }
        if value::int(pool, &["resourceSliceCount"]).unwrap_or(0) <= 0 {
            let count = value::int(pool, &["resourceSliceCount"]).unwrap_or(0);
            errors.invalid(&at.child("pool").child("resourceSliceCount"), count, "must be greater than zero");
        }
        rules::not_negative(pool, &["generation"], &at.child("pool"), &mut errors);
        let places = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
        match places.iter().filter(|name| spec.get(**name).is_some_and(|v| *v != Value::Bool(false))).count() {
            0 => errors.required(&at, "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"),
            1 => {}
            _ => errors.invalid(
                &at,
                Value::Null,
                "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
            ),
        }
        let (devices, devices_at) = (value::items(spec, &["devices"]), at.child("devices"));
        if devices.len() > DEVICES_MAX {
            errors.too_many(&devices_at, devices.len(), DEVICES_MAX);
        }
        for (i, device) in devices.iter().enumerate() {
            let (name, at) = (value::text(device, &["name"]), devices_at.index(i));
            rules::messages(validate::dns_label(name, false), name, &at.child("name"), &mut errors);
            if devices[..i].iter().any(|d| value::text(d, &["name"]) == name) {
                errors.duplicate(&at, name);
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (now, was, at) = (get(new, "spec"), get(old, "spec"), path("spec"));
        rules::immutable_fields(now, was, &["driver", "nodeName", "nodeSelector", "allNodes"], &at, &mut errors);
        rules::immutable_fields(get(now, "pool"), get(was, "pool"), &["name"], &at.child("pool"), &mut errors);
        errors
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["spec.nodeName".into(), "spec.driver".into()]
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Node", "Driver", "Pool"].map(|name| Column::new(name, "string")));
        columns.push(Column::age());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            table::name(object),
            table::text(object, &["spec", "nodeName"]),
            table::text(object, &["spec", "driver"]),
            table::text(object, &["spec", "pool", "name"]),
            table::age(object, now).into(),
        ]
    }
}

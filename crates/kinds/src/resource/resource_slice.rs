//! Devices that a driver offers.

use super::shared::{few, pool_name, unique};
use super::{GROUP, device};
use crate::core::pod_template::{driver_name, scheduling};
use crate::kind::built_in;
use crate::rules::{self, get, has, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct ResourceSlice;

const DEVICES_MAX: usize = 128;
/// Of devices with taints, counters or lists as attributes, which take more room.
const ADVANCED_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;

/// Where the devices are: exactly one way to say it.
fn place(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let mut set = Vec::new();
    match get(spec, "nodeName").as_str() {
        Some("") => errors.invalid(&at.child("nodeName"), "", "must be either unset or set to a non-empty string"),
        Some(name) => {
            set.push("`nodeName`");
            rules::dns_subdomain(name, &at.child("nodeName"), errors);
        }
        None => {}
    }
    if has(spec, "nodeSelector") {
        set.push("`nodeSelector`");
        let (selector, here) = (get(spec, "nodeSelector"), at.child("nodeSelector"));
        scheduling::node_selector(selector, &here, errors);
        let terms = value::items(selector, &["nodeSelectorTerms"]);
        if terms.len() != 1 {
            errors.invalid(&here.child("nodeSelectorTerms"), terms.to_vec(), "must have exactly one node selector term");
        }
    }
    for (name, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        match get(spec, name).as_bool() {
            Some(true) => set.push(shown),
            Some(false) => errors.invalid(&at.child(name), false, "must be either unset or set to true"),
            None => {}
        }
    }
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => errors.required(at, why),
        1 => {}
        _ => errors.invalid(at, format!("{{{}}}", set.join(", ")), &format!("{why}, but multiple fields are set")),
    }
}

impl Kind for ResourceSlice {
    built_in!("io.k8s.api.resource.v1.ResourceSlice", Names::new(GROUP, "v1", "ResourceSlice", "resourceslices", Scope::Cluster));

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let e = &mut errors;
        let (spec, at) = (get(object, "spec"), path("spec"));
        driver_name(value::text(spec, &["driver"]), &at.child("driver"), e);
        let (pool, here) = (get(spec, "pool"), at.child("pool"));
        pool_name(value::text(pool, &["name"]), &here.child("name"), e);
        let count = value::int(pool, &["resourceSliceCount"]).unwrap_or(0);
        if count <= 0 {
            e.invalid(&here.child("resourceSliceCount"), count, "must be greater than zero");
        }
        if let Some(generation) = value::int(pool, &["generation"]).filter(|g| *g < 0) {
            e.invalid(&here.child("generation"), generation, "must be greater than or equal to zero");
        }
        place(spec, &at, e);
        if has(spec, "sharedCounters") && has(spec, "devices") {
            e.invalid(&at, "", "only one of `sharedCounters` or `devices` is allowed");
        }
        let (devices, here) = (value::items(spec, &["devices"]), at.child("devices"));
        let lists = |d: &Value| {
            let attributes = get(d, "attributes").as_object();
            attributes.into_iter().flatten().any(|(_, a)| ["bools", "ints", "strings", "versions"].iter().any(|l| has(a, l)))
        };
        let advanced = |d: &Value| ["taints", "consumesCounters"].iter().any(|n| !value::items(d, &[n]).is_empty()) || lists(d);
        let most = if devices.iter().any(advanced) { ADVANCED_DEVICES_MAX } else { DEVICES_MAX };
        let per_device = value::flag(spec, &["perDeviceNodeSelection"]);
        if few(devices.len(), most, &here, e) {
            devices.iter().enumerate().for_each(|(i, found)| device::validate(found, per_device, &here.index(i), e));
            unique(devices.iter().map(|d| value::text(d, &["name"])), &here, e);
        }
        let (sets, here) = (value::items(spec, &["sharedCounters"]), at.child("sharedCounters"));
        if few(sets.len(), COUNTER_SETS_MAX, &here, e) {
            sets.iter().enumerate().for_each(|(i, set)| device::counters(set, "name", &here.index(i), e));
            unique(sets.iter().map(|s| value::text(s, &["name"])), &here, e);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (now, was, at) = (get(new, "spec"), get(old, "spec"), path("spec"));
        rules::immutable_fields(get(now, "pool"), get(was, "pool"), &["name"], &at.child("pool"), &mut errors);
        rules::immutable_fields(now, was, &["driver", "nodeName"], &at, &mut errors);
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

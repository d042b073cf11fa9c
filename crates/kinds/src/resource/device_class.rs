//! A kind of device that claims name.

use super::{GROUP, requests, shared};
use crate::core::resource_names;
use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Kind, Names, Scope};
use meta::{FieldErrors, value};
use serde_json::Value;

pub struct DeviceClass;

impl Kind for DeviceClass {
    built_in!("io.k8s.api.resource.v1.DeviceClass", Names::new(GROUP, "v1", "DeviceClass", "deviceclasses", Scope::Cluster));

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        requests::check_selectors(value::items(spec, &["selectors"]), &at.child("selectors"), &mut errors);
        let (config, here) = (value::items(spec, &["config"]), at.child("config"));
        if shared::few(config.len(), requests::CONFIG_MAX, &here, &mut errors) {
            config.iter().enumerate().for_each(|(i, config)| shared::opaque(config, &here.index(i), &mut errors));
        }
        if let Some(name) = get(spec, "extendedResourceName").as_str().filter(|name| !resource_names::is_extended(name)) {
            errors.invalid(&at.child("extendedResourceName"), name, "must be a valid extended resource name");
        }
        errors
    }
}

//! A kind of device that claims name.

use super::{GROUP, requests};
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
        requests::check_selectors(value::items(get(object, "spec"), &["selectors"]), &path("spec.selectors"), &mut errors);
        errors
    }
}

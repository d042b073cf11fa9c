//! storage.k8s.io/v1: kinds of volumes, and who makes and attaches them.

mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod storage_class;
mod volume_attachment;
mod volume_attributes_class;

use crate::{Kind, rules};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "storage.k8s.io";
const DRIVER_NAME_MAX: usize = 63;
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_SIZE_MAX: usize = 256 * 1024;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(csi_driver::CSIDriver),
        Arc::new(csi_node::CSINode),
        Arc::new(csi_storage_capacity::CSIStorageCapacity),
        Arc::new(storage_class::StorageClass),
        Arc::new(volume_attachment::VolumeAttachment),
        Arc::new(volume_attributes_class::VolumeAttributesClass),
    ]
}

fn driver_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
        return;
    }
    if name.len() > DRIVER_NAME_MAX {
        errors.too_long(at, DRIVER_NAME_MAX);
    }
    rules::messages(validate::dns_subdomain(&name.to_lowercase(), false), name, at, errors);
}

fn provisioner(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
    } else {
        let lower = name.to_lowercase();
        rules::messages(validate::qualified_name(&lower), &lower, at, errors);
    }
}

fn parameters(parameters: &Value, required: bool, at: &FieldPath, errors: &mut FieldErrors) {
    let count = parameters.as_object().map_or(0, serde_json::Map::len);
    if count > PARAMETERS_MAX {
        errors.too_long(at, PARAMETERS_MAX);
        return;
    }
    let mut size = 0;
    for (key, text) in parameters.as_object().into_iter().flatten() {
        if key.is_empty() {
            errors.invalid(at, "", "field can not be empty.");
        }
        size += key.len() + text.as_str().map_or(0, str::len);
    }
    if size > PARAMETERS_SIZE_MAX {
        errors.too_long(at, PARAMETERS_SIZE_MAX);
    }
    if required && count == 0 {
        errors.required(at, "must contain at least one key/value pair");
    }
}

/// A boolean that is shown whether or not it is set.
fn flag(object: &Value, name: &str, missing: bool) -> Value {
    value::at(object, &["spec", name]).and_then(Value::as_bool).unwrap_or(missing).into()
}

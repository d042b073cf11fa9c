//! How much a class of volumes has left in a part of the cluster.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, Quantity, validate, value};
use serde_json::Value;

pub struct CSIStorageCapacity;

impl Kind for CSIStorageCapacity {
    built_in!(
        "io.k8s.api.storage.v1.CSIStorageCapacity",
        Names::new(GROUP, "v1", "CSIStorageCapacity", "csistoragecapacities", Scope::Namespaced)
    );

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        errors.extend(validate::label_selector(get(object, "nodeTopology"), &path("nodeTopology")));
        let class = value::text(object, &["storageClassName"]);
        rules::messages(validate::dns_subdomain(class, false), class, &path("storageClassName"), &mut errors);
        let capacity = get(object, "capacity");
        if Quantity::from_value(capacity).is_ok_and(|q| q.signum() < 0) {
            errors.invalid(&path("capacity"), capacity.clone(), rules::NOT_NEGATIVE);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for name in ["nodeTopology", "storageClassName"] {
            rules::immutable(get(new, name), get(old, name), &path(name), &mut errors);
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("StorageClassName", "string"), Column::new("Capacity", "string")]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::text(object, &["storageClassName"]), table::text_or(object, &["capacity"], "<unset>")]
    }
}

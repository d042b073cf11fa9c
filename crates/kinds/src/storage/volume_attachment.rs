//! A volume that should be, or is, attached to a node.

use super::{GROUP, driver_name};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::Value;

pub struct VolumeAttachment;

const METADATA_MAX: usize = 256 * 1024;
const MESSAGE_MAX: usize = 1024;

impl Kind for VolumeAttachment {
    built_in!("io.k8s.api.storage.v1.VolumeAttachment", Names::new(GROUP, "v1", "VolumeAttachment", "volumeattachments", Scope::Cluster));

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        driver_name(value::text(spec, &["attacher"]), &at.child("attacher"), &mut errors);
        let (source, source_at) = (get(spec, "source"), at.child("source"));
        let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        let volume_at = source_at.child("persistentVolumeName");
        match (source.get("inlineVolumeSpec"), get(source, "persistentVolumeName").as_str()) {
            (None, None) => errors.required(&source_at, one),
            (Some(_), Some(_)) => errors.forbidden(&source_at, one),
            (None, Some("")) => errors.required(&volume_at, "must specify non empty persistentVolumeName"),
            (None, Some(name)) => rules::messages(validate::dns_subdomain(name, false), name, &volume_at, &mut errors),
            (Some(_), None) => {}
        }
        let node = value::text(spec, &["nodeName"]);
        rules::messages(validate::dns_subdomain(node, false), node, &at.child("nodeName"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        rules::immutable(get(new, "spec"), get(old, "spec"), &path("spec"), &mut errors);
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (status, at) = (get(new, "status"), path("status"));
        let metadata = get(status, "attachmentMetadata").as_object();
        let size: usize = metadata.into_iter().flatten().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
        if size > METADATA_MAX {
            errors.too_long(&at.child("attachmentMetadata"), METADATA_MAX);
        }
        for name in ["attachError", "detachError"] {
            if value::text(status, &[name, "message"]).len() > MESSAGE_MAX {
                errors.too_long(&at.child(name).child("message"), METADATA_MAX);
            }
            if let Some(code) = value::int(status, &[name, "errorCode"]).filter(|code| *code < 0) {
                errors.invalid(&at.child(name).child("errorCode"), code, "must be between 0 and 2147483647, inclusive");
            }
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column { format: "name".into(), ..Column::new("Attacher", "string") },
            Column::new("PV", "string"),
            Column::new("Node", "string"),
            Column::new("Attached", "boolean"),
            Column::age(),
        ]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            table::name(object),
            table::text(object, &["spec", "attacher"]),
            table::text(object, &["spec", "source", "persistentVolumeName"]),
            table::text(object, &["spec", "nodeName"]),
            value::flag(object, &["status", "attached"]).into(),
            table::age(object, now).into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

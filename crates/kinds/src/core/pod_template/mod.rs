//! What pods and everything that makes pods from a template share: the pod spec's defaults and rules.

pub mod annotations;
mod containers;
mod defaults;
mod env;
mod mounts;
mod overlaps;
mod probes;
mod projected;
pub mod resources;
pub mod scheduling;
mod security;
mod spec;
mod volumes;
mod warnings;
mod windows;

pub use containers::image_is_trimmed;
pub use defaults::{Place, default_container, default_spec};
pub use spec::validate_spec;
pub use volumes::{Sources, driver_name, sources};
pub use warnings::{node_label, node_term as term_warnings, source_warnings, warnings as spec_warnings};

use crate::rules::get;
use meta::{FieldErrors, FieldPath, validate as check, value};
use serde_json::Value;
use std::collections::BTreeSet;

/// What the parts of a pod have to know of each other.
pub struct Context<'a> {
    /// Those in which nothing is wrong.
    volumes: Vec<&'a Value>,
    claims: BTreeSet<&'a str>,
    grace: Option<i64>,
    host_users: bool,
    restart: &'a str,
    os: &'a str,
    /// A pod itself rather than a template for one.
    is_pod: bool,
}

impl<'a> Context<'a> {
    fn volume(&self, name: &str) -> Option<&'a Value> {
        self.volumes.iter().find(|v| value::text(v, &["name"]) == name).copied()
    }
}

/// Every container of a pod, with where it is.
pub fn visit<'a>(spec: &'a Value, at: &FieldPath, mut each: impl FnMut(&'a Value, &FieldPath)) {
    for name in ["initContainers", "containers", "ephemeralContainers"] {
        for (i, container) in value::items(spec, &[name]).iter().enumerate() {
            each(container, &at.child(name).index(i));
        }
    }
}

/// Defaults of a pod template (an object with `metadata` and `spec`).
pub fn default(template: &mut Value) {
    if !template.is_object() {
        return;
    }
    let _ = value::object(template, &["spec"]);
    default_spec(&mut template["spec"], Place::Template);
}

pub fn validate(template: &Value, path: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let null = Value::Null;
    let (spec, metadata) = (get(template, "spec"), get(template, "metadata"));
    errors.extend(check::labels(metadata.get("labels").unwrap_or(&null), &path.child("labels")));
    errors.extend(check::annotations(metadata.get("annotations").unwrap_or(&null), &path.child("annotations")));
    annotations::of_pod(metadata, spec, &path.child("annotations"), &mut errors);
    errors.extend(validate_spec(spec, None, &path.child("spec")));
    annotations::agree(metadata, spec, &path.child("spec"), &mut errors);
    if !value::items(spec, &["ephemeralContainers"]).is_empty() {
        errors.forbidden(&path.child("spec").child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
    errors
}

pub fn warnings(template: &Value, path: &FieldPath) -> Vec<String> {
    spec_warnings(get(template, "spec"), get(template, "metadata"), path, true)
}

/// `Guaranteed` when every container limits cpu and memory to what it asks for, `BestEffort` when none
/// says anything of them, else `Burstable`. What the pod says of itself as a whole counts instead of its containers.
pub fn qos(spec: &Value) -> &'static str {
    let own = get(spec, "resources");
    let says = |kind: &str| own.get(kind).and_then(Value::as_object).is_some_and(|m| !m.is_empty());
    let containers = value::items(spec, &["containers"]).iter().chain(value::items(spec, &["initContainers"]));
    let all: Vec<&Value> = if says("requests") || says("limits") { vec![own] } else { containers.map(|c| get(c, "resources")).collect() };
    let (mut any, mut all_equal) = (false, true);
    for found in all {
        for name in ["cpu", "memory"] {
            let amount = |kind: &str| {
                let found = value::at(found, &[kind, name]).and_then(|q| meta::Quantity::from_value(q).ok());
                found.filter(|q| !q.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            all_equal &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

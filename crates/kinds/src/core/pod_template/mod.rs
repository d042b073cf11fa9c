//! What pods and everything that makes pods from a template share: the pod spec's defaults and rules.

mod containers;
mod defaults;
mod probes;
mod spec;
mod volumes;

pub use defaults::{Place, default_container, default_spec};
pub use spec::{validate_spec, warnings as spec_warnings};

use crate::rules::get;
use meta::{FieldErrors, FieldPath, validate as check, value};
use serde_json::Value;

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
    errors.extend(check::labels(value::at(template, &["metadata", "labels"]).unwrap_or(&Value::Null), &path.child("labels")));
    errors
        .extend(check::annotations(value::at(template, &["metadata", "annotations"]).unwrap_or(&Value::Null), &path.child("annotations")));
    errors.extend(validate_spec(get(template, "spec"), get(template, "metadata"), &path.child("spec")));
    if !value::items(template, &["spec", "ephemeralContainers"]).is_empty() {
        errors.forbidden(&path.child("spec").child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
    errors
}

pub fn warnings(template: &Value, path: &FieldPath) -> Vec<String> {
    spec_warnings(get(template, "spec"), &path.child("spec"))
}

/// `Guaranteed` when every container limits cpu and memory to what it asks for, `BestEffort` when none
/// says anything of them, else `Burstable`.
pub fn qos(spec: &Value) -> &'static str {
    let (mut any, mut all_equal) = (false, true);
    let containers = value::items(spec, &["containers"]).iter().chain(value::items(spec, &["initContainers"]));
    for container in containers {
        for name in ["cpu", "memory"] {
            let amount = |kind: &str| {
                let found = value::at(container, &["resources", kind, name]).and_then(|q| meta::Quantity::from_value(q).ok());
                found.filter(|q| !q.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            let equal = match (&request, &limit) {
                (Some(a), Some(b)) => {
                    let mut difference = *a;
                    difference.sub(b);
                    difference.is_zero()
                }
                (None, Some(_)) => true,
                _ => false,
            };
            all_equal &= equal;
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

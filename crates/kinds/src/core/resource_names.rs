//! What amounts may be counted of, where, and in what.

use crate::rules::{self, NOT_NEGATIVE};
use meta::{FieldErrors, FieldPath, Quantity, validate};
use serde_json::Value;

const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const QUOTA: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

pub fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Kubernetes' own, as opposed to what devices and plugins bring.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && validate::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether a limit may be higher than the request.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

pub fn is_standard_quota(name: &str) -> bool {
    QUOTA.contains(&name) || COUNTED.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// Any resource: qualified, and known where it has no domain. True if nothing was wrong.
pub fn any(name: &str, at: &FieldPath, errors: &mut FieldErrors) -> bool {
    let before = errors.0.len();
    rules::messages(validate::qualified_name(name), name, at, errors);
    if errors.0.len() == before && !name.contains('/') && !is_standard_quota(name) && name != "storage" {
        errors.invalid(at, name, "must be a standard resource type or fully qualified");
    }
    errors.0.len() == before
}

pub fn container(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    any(name, at, errors);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// What a pod as a whole can ask for.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

pub fn pod(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if any(name, at, errors) && !is_pod_level(name) {
        errors.not_supported(at, name, &["cpu", "hugepages-", "memory"]);
    }
}

pub fn quota(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    any(name, at, errors);
    if !name.contains('/') && !is_standard_quota(name) {
        errors.invalid(at, name, "must be a standard resource for quota");
    }
}

pub fn limit_range(ty: &str, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    match ty {
        "Pod" | "Container" => container(name, at, errors),
        _ => drop(any(name, at, errors)),
    }
}

/// Not negative, and whole where the resource is.
pub fn amount(name: &str, found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let Ok(quantity) = Quantity::from_value(found) else { return };
    if quantity.signum() < 0 {
        errors.invalid(at, found.clone(), NOT_NEGATIVE);
    }
    if (COUNTED.contains(&name) || is_extended(name)) && quantity.milli_value() % 1000 != 0 {
        errors.invalid(at, found.clone(), "must be an integer");
    }
}

/// Why an amount of huge pages is none, if it is none.
pub fn huge_page_amount(name: &str, found: &Value) -> Option<String> {
    let page = Quantity::parse(name.strip_prefix("hugepages-")?).ok().filter(|p| p.signum() > 0 && p.milli_value() % 1000 == 0);
    let amount = Quantity::from_value(found).ok()?;
    let divisible = page.is_some_and(|page| amount.value() % page.value().max(1) == 0);
    (!divisible).then(|| format!("{} is not positive integer multiple of {name}", found.as_str().unwrap_or_default()))
}

//! The downward API: what a pod may be told about itself, in its environment and in its volumes.

use crate::quantities;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use meta::quantity::Quantity;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What is known of the pod beyond its own object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub pod_ips: Vec<String>,
    pub host_ips: Vec<IpAddr>,
    /// What a container without a limit may use: the node's allocatable resources.
    pub allocatable: BTreeMap<String, Quantity>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    #[error("unsupported container resource: {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
    #[error("invalid divisor {0:?}")]
    Divisor(String),
}

/// The value of a `fieldRef`.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, FieldError> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.annotations" => meta.annotations.as_ref(),
            "metadata.labels" => meta.labels.as_ref(),
            _ => return Err(FieldError::Field(path.into())),
        };
        return Ok(values.and_then(|v| v.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        "status.hostIP" => facts.host_ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        _ => return Err(FieldError::Field(path.into())),
    })
}

/// `metadata.labels['app']` as map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn lines(values: Option<&BTreeMap<String, String>>) -> String {
    values.into_iter().flatten().map(|(k, v)| format!("{k}={}", quoted(v))).collect::<Vec<_>>().join("\n")
}

/// As Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a `resourceFieldRef`; in an environment the container is the one it belongs to.
pub fn resource(pod: &Pod, own: Option<&Container>, facts: &Facts, source: &ResourceFieldSelector) -> Result<String, FieldError> {
    let container = match source.container_name.as_deref().filter(|n| !n.is_empty()) {
        Some(name) => {
            let spec = pod.spec.as_ref();
            let all = spec.into_iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
            all.into_iter().find(|c| c.name == name).ok_or_else(|| FieldError::Container(name.into()))?
        }
        None => own.ok_or_else(|| FieldError::Container(String::new()))?,
    };
    let unsupported = || FieldError::Resource(source.resource.clone());
    let (side, name) = source.resource.split_once('.').ok_or_else(unsupported)?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !known {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let pick = |values: Option<&BTreeMap<String, ApiQuantity>>| values.and_then(|v| v.get(name)).map(quantities::parse);
    let limit = pick(resources.and_then(|r| r.limits.as_ref()));
    let amount = match side {
        "limits" => limit.filter(|q| !q.is_zero()).or_else(|| facts.allocatable.get(name).copied()),
        "requests" => pick(resources.and_then(|r| r.requests.as_ref())),
        _ => return Err(unsupported()),
    }
    .unwrap_or(Quantity::ZERO);
    let divisor = match &source.divisor {
        Some(q) => Quantity::parse(&q.0).map_err(|_| FieldError::Divisor(q.0.clone()))?,
        None => Quantity::ZERO,
    };
    Ok(divided(name, &amount, &divisor))
}

fn divided(name: &str, amount: &Quantity, divisor: &Quantity) -> String {
    let up = |a: i64, b: i64| i128::from(a).unsigned_abs().div_ceil(i128::from(b.max(1)).unsigned_abs());
    if name == "cpu" {
        let divisor = if divisor.is_zero() { 1000 } else { divisor.milli_value() };
        up(amount.milli_value(), divisor).to_string()
    } else {
        let divisor = if divisor.is_zero() { 1 } else { divisor.value() };
        up(amount.value(), divisor).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web", "tier": "a\"b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "32Mi"}}}]}
        }))
        .expect("a pod")
    }

    #[test]
    fn labels_are_told_one_a_line_and_quoted() {
        let facts = Facts::default();
        assert_eq!(field(&pod(), &facts, "metadata.labels").unwrap(), "app=\"web\"\ntier=\"a\\\"b\"");
        assert_eq!(field(&pod(), &facts, "metadata.labels['app']").unwrap(), "web");
        assert_eq!(field(&pod(), &facts, "spec.secrets").unwrap_err(), FieldError::Field("spec.secrets".into()));
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let facts = Facts { allocatable: BTreeMap::from([("memory".into(), Quantity::from_bytes(1 << 30))]), ..Facts::default() };
        let ask = |resource: &str, divisor: Option<&str>| {
            let source = ResourceFieldSelector {
                container_name: Some("c".into()),
                resource: resource.into(),
                divisor: divisor.map(|d| ApiQuantity(d.into())),
            };
            super::resource(&pod(), None, &facts, &source).unwrap()
        };
        assert_eq!(ask("limits.cpu", None), "2");
        assert_eq!(ask("limits.cpu", Some("1m")), "1500");
        assert_eq!(ask("requests.memory", Some("1Mi")), "32");
        assert_eq!(ask("limits.memory", None), (1u64 << 30).to_string());
    }
}

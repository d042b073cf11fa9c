//! What single objects use up, as the API server's admission charges it.

use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ScopedResourceSelectorRequirement};
use kube::ResourceExt;
use meta::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

pub type Amounts = BTreeMap<String, Quantity>;

fn add(used: &mut Amounts, name: &str, amount: &Quantity) {
    used.entry(name.into()).or_insert(Quantity::ZERO).add(amount);
}

fn one(used: &mut Amounts, name: &str) {
    add(used, name, &Quantity::new(1));
}

/// The largest of what runs at once: all containers and sidecars, or an init container beside the
/// sidecars started before it.
fn demand(pod: &Value, kind: &str) -> Amounts {
    let of = |container: &Value| -> Amounts {
        let given = container["resources"][kind].as_object().into_iter().flatten();
        given.filter_map(|(name, v)| Some((name.clone(), Quantity::from_value(v).ok()?))).collect()
    };
    let list = |field: &str| pod["spec"][field].as_array().cloned().unwrap_or_default();
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    let raise = |peak: &mut Amounts, other: &Amounts| {
        for (name, amount) in other {
            let known = peak.entry(name.clone()).or_insert(*amount);
            *known = (*known).max(*amount);
        }
    };
    for container in list("initContainers") {
        let mut now = sidecars.clone();
        of(&container).iter().for_each(|(name, amount)| add(&mut now, name, amount));
        raise(&mut peak, &now);
        if container["restartPolicy"] == "Always" {
            sidecars = now;
        }
    }
    for container in list("containers") {
        of(&container).iter().for_each(|(name, amount)| add(&mut sidecars, name, amount));
    }
    raise(&mut peak, &sidecars);
    // What is stated for the pod as a whole stands for its containers.
    peak.extend(of(&pod["spec"]));
    for (name, amount) in pod["spec"]["overhead"].as_object().into_iter().flatten() {
        if let Ok(amount) = Quantity::from_value(amount) {
            add(&mut peak, name, &amount);
        }
    }
    peak
}

pub fn pod(pod: &Value, used: &mut Amounts) {
    one(used, "pods");
    one(used, "count/pods");
    for (name, amount) in demand(pod, "requests") {
        if ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) || name.starts_with("hugepages-") {
            add(used, &name, &amount);
        }
        add(used, &format!("requests.{name}"), &amount);
    }
    for (name, amount) in demand(pod, "limits") {
        add(used, &format!("limits.{name}"), &amount);
    }
}

pub fn service(service: &Value, used: &mut Amounts) {
    one(used, "services");
    one(used, "count/services");
    let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let all = Quantity::new(i64::try_from(ports.len()).unwrap_or(0));
    match service["spec"]["type"].as_str() {
        Some("NodePort") => add(used, "services.nodeports", &all),
        Some("LoadBalancer") => {
            one(used, "services.loadbalancers");
            let allocated = ports.iter().filter(|p| p["nodePort"].as_i64().is_some_and(|n| n != 0)).count();
            let without = service["spec"]["allocateLoadBalancerNodePorts"] == false;
            let count = if without { Quantity::new(i64::try_from(allocated).unwrap_or(0)) } else { all };
            add(used, "services.nodeports", &count);
        }
        _ => {}
    }
}

pub fn claim(claim: &Value, used: &mut Amounts) {
    let class = claim["spec"]["storageClassName"]
        .as_str()
        .or_else(|| claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str());
    let of_class = |name: &str| class.map(|c| format!("{c}.storageclass.storage.k8s.io/{name}"));
    one(used, "persistentvolumeclaims");
    one(used, "count/persistentvolumeclaims");
    of_class("persistentvolumeclaims").iter().for_each(|name| one(used, name));
    if let Ok(size) = Quantity::from_value(&claim["spec"]["resources"]["requests"]["storage"]) {
        add(used, "requests.storage", &size);
        of_class("requests.storage").iter().for_each(|name| add(used, name, &size));
    }
}

/// Whether the quota is about some pods only.
pub fn scoped(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref();
    spec.is_some_and(|s| s.scopes.as_ref().is_some_and(|s| !s.is_empty()) || s.scope_selector.is_some())
}

pub fn covers(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let selector = spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten());
    spec.scopes.iter().flatten().all(|s| holds(s, pod)) && selector.into_iter().all(|e| chosen(e, pod))
}

fn chosen(expression: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    if expression.scope_name != "PriorityClass" {
        return holds(&expression.scope_name, pod) != (expression.operator == "DoesNotExist");
    }
    let class = pod.spec.as_ref().and_then(|s| s.priority_class_name.as_ref()).filter(|c| !c.is_empty());
    let named = || class.is_some_and(|c| expression.values.iter().flatten().any(|v| v == c));
    match expression.operator.as_str() {
        "In" => named(),
        "NotIn" => !named(),
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        _ => false,
    }
}

fn holds(scope: &str, pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let ending = || spec.and_then(|s| s.active_deadline_seconds).is_some_and(|s| s >= 0);
    let best_effort = || spec.is_none_or(|s| s.containers.iter().chain(s.init_containers.iter().flatten()).all(unbounded));
    match scope {
        "Terminating" => ending(),
        "NotTerminating" => !ending(),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => spec.and_then(|s| s.priority_class_name.as_ref()).is_some_and(|c| !c.is_empty()),
        "CrossNamespacePodAffinity" => crosses(pod),
        _ => false,
    }
}

fn unbounded(container: &k8s_openapi::api::core::v1::Container) -> bool {
    let empty = |of: &Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| {
        of.iter()
            .flatten()
            .all(|(name, amount)| !matches!(name.as_str(), "cpu" | "memory") || Quantity::parse(&amount.0).is_ok_and(|q| q.is_zero()))
    };
    container.resources.as_ref().is_none_or(|r| empty(&r.requests) && empty(&r.limits))
}

fn crosses(pod: &Pod) -> bool {
    let Some(affinity) = pod.spec.as_ref().and_then(|s| s.affinity.as_ref()) else { return false };
    let text = serde_json::json!([affinity.pod_affinity, affinity.pod_anti_affinity]);
    let terms = text.as_array().into_iter().flatten().flat_map(|kind| {
        let required = kind["requiredDuringSchedulingIgnoredDuringExecution"].as_array().cloned().unwrap_or_default();
        let preferred = kind["preferredDuringSchedulingIgnoredDuringExecution"].as_array().cloned().unwrap_or_default();
        required.into_iter().chain(preferred.into_iter().map(|p| p["podAffinityTerm"].clone()))
    });
    let own = pod.namespace();
    terms.into_iter().any(|t| {
        !t["namespaceSelector"].is_null() || t["namespaces"].as_array().is_some_and(|n| n.iter().any(|n| n.as_str() != own.as_deref()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_uses_what_its_containers_need_at_once() {
        let wants = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut used = Amounts::new();
        pod(&json!({"spec": {"containers": [wants("100m"), wants("200m")], "initContainers": [wants("500m")]}}), &mut used);
        assert_eq!(used["requests.cpu"].to_string(), "500m");
        assert_eq!(used["cpu"], used["requests.cpu"]);
        assert_eq!(used["pods"].to_string(), "1");
    }

    #[test]
    fn a_claim_counts_for_its_class_too() {
        let mut used = Amounts::new();
        claim(&json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}), &mut used);
        assert_eq!(used["gold.storageclass.storage.k8s.io/requests.storage"].to_string(), "1Gi");
        assert_eq!(used["requests.storage"].to_string(), "1Gi");
    }
}

//! What an object uses of what a quota can limit.

use super::Amounts;
use crate::admission::limit_ranger::{list, pod_sum};
use meta::GroupResource;
use meta::quantity::Quantity;
use meta::value;
use serde_json::Value;
use std::collections::BTreeMap;

const COUNTED: [&str; 4] = ["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];
/// What every container has to state once a quota limits it.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

pub fn usage(of: &GroupResource, object: &Value) -> Amounts {
    let mut used = Amounts::new();
    let count = if of.group.is_empty() { format!("count/{}", of.resource) } else { format!("count/{}.{}", of.resource, of.group) };
    used.insert(count, Quantity::new(1));
    if !of.group.is_empty() {
        return used;
    }
    match of.resource.as_ref() {
        "pods" => pod(object, &mut used),
        "services" => service(object, &mut used),
        "persistentvolumeclaims" => claim(object, &mut used),
        other if COUNTED.contains(&other) => {
            used.insert(other.to_string(), Quantity::new(1));
        }
        _ => {}
    }
    used
}

fn pod(pod: &Value, used: &mut Amounts) {
    // What has ended only lies in the store.
    if matches!(value::text(pod, &["status", "phase"]), "Failed" | "Succeeded") {
        return;
    }
    used.insert("pods".into(), Quantity::new(1));
    compute(&pod_sum(pod, "requests"), &pod_sum(pod, "limits"), used);
}

fn compute(requests: &Amounts, limits: &Amounts, used: &mut Amounts) {
    for (name, q) in requests {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            used.insert(name.clone(), *q);
        }
        used.insert(format!("requests.{name}"), *q);
    }
    for (name, q) in limits.iter().filter(|(n, _)| matches!(n.as_str(), "cpu" | "memory" | "ephemeral-storage")) {
        used.insert(format!("limits.{name}"), *q);
    }
}

fn service(service: &Value, used: &mut Amounts) {
    used.insert("services".into(), Quantity::new(1));
    let ports = value::items(service, &["spec", "ports"]);
    let all = i64::try_from(ports.len()).unwrap_or(i64::MAX);
    match value::text(service, &["spec", "type"]) {
        "NodePort" => {
            used.insert("services.nodeports".into(), Quantity::new(all));
        }
        "LoadBalancer" => {
            let unless = value::at(service, &["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool) == Some(false);
            let chosen = ports.iter().filter(|p| value::int(p, &["nodePort"]).unwrap_or(0) != 0).count();
            let nodeports = if unless { i64::try_from(chosen).unwrap_or(i64::MAX) } else { all };
            used.insert("services.nodeports".into(), Quantity::new(nodeports));
            used.insert("services.loadbalancers".into(), Quantity::new(1));
        }
        _ => {}
    }
}

fn claim(claim: &Value, used: &mut Amounts) {
    let class = match value::text(claim, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]) {
        "" => value::text(claim, &["spec", "storageClassName"]),
        class => class,
    };
    let mut put = |what: &str, q: Quantity| {
        used.insert(what.to_string(), q);
        if !class.is_empty() {
            used.insert(format!("{class}.storageclass.storage.k8s.io/{what}"), q);
        }
    };
    put("persistentvolumeclaims", Quantity::new(1));
    if let Some(q) = list(claim, &["spec", "resources", "requests"]).get("storage") {
        put("requests.storage", *q);
    }
}

/// What the containers of a pod leave open although `hard` limits it; none if nothing.
pub fn unstated(pod: &Value, hard: &Amounts) -> Option<String> {
    let stated = |of: &Value| {
        let mut used = Amounts::new();
        compute(&list(of, &["resources", "requests"]), &list(of, &["resources", "limits"]), &mut used);
        used
    };
    let whole = pod.get("spec").map(stated).unwrap_or_default();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for field in ["containers", "initContainers"] {
        for container in value::items(pod, &["spec", field]) {
            let own = stated(container);
            let open = REQUIRED.into_iter().filter(|r| hard.contains_key(*r) && !own.contains_key(*r) && !whole.contains_key(*r));
            open.for_each(|r| missing.entry(r).or_default().push(value::text(container, &["name"])));
        }
    }
    if missing.is_empty() {
        return None;
    }
    let each = missing.into_iter().map(|(resource, mut names)| {
        names.sort_unstable();
        format!("{resource} for: {}", names.join(","))
    });
    Some(format!("must specify {}", each.collect::<Vec<_>>().join("; ")))
}

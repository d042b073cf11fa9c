//! What a pod counts as on a node, and what a node has.

use client::requests::{self, Amounts};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod, ResourceRequirements};

/// What a pod that asks for nothing still counts as when nodes are compared (not when they are filled).
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;

/// What the pod's node must set aside for it: while a resize is under way, the most of what is asked for,
/// what the node has agreed to and what the containers have (KEP-1287).
pub fn of_pod(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let Some(status) = &pod.status else { return requests::of_pod(spec) };
    let infeasible = status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "PodResizePending" && c.status == "True" && c.reason.as_deref() == Some("Infeasible"));
    let told: Vec<&ContainerStatus> =
        [&status.container_statuses, &status.init_container_statuses].into_iter().flatten().flatten().collect();
    let settled = |name: &str, wanted: Option<&ResourceRequirements>| {
        let Some(told) = told.iter().find(|s| s.name == name) else { return true };
        let wanted = wanted.and_then(|r| r.requests.as_ref());
        let actual = told.resources.as_ref().map_or(wanted, |r| r.requests.as_ref());
        told.allocated_resources.as_ref().is_none_or(|a| Some(a) == wanted) && actual == wanted
    };
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if all().all(|c| settled(&c.name, c.resources.as_ref())) {
        return requests::of_pod(spec);
    }
    let mut spec = spec.clone();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let Some(told) = told.iter().find(|s| s.name == container.name) else { continue };
        // What can never be given is not kept free.
        let mut most = if infeasible { Amounts::default() } else { Amounts::requested(container.resources.as_ref()) };
        most.raise(&Amounts::of(told.allocated_resources.as_ref()));
        most.raise(&Amounts::requested(told.resources.as_ref()));
        container.resources.get_or_insert_default().requests = Some(most.quantities());
    }
    requests::of_pod(&spec)
}

/// Cpu and memory as they count when nodes are compared.
pub fn weight(requests: &Amounts) -> (i64, i64) {
    let or = |amount, default| if amount == 0 { default } else { amount };
    (or(requests.get("cpu"), DEFAULT_MILLI_CPU), or(requests.get("memory"), DEFAULT_MEMORY))
}

pub fn of_node(node: &Node) -> Amounts {
    Amounts::of(node.status.as_ref().and_then(|s| s.allocatable.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cpu(pending: &str) -> i64 {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}]},
            "status": {
                "conditions": [{"type": "PodResizePending", "status": "True", "reason": pending}],
                "containerStatuses": [{
                    "name": "a", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                    "allocatedResources": {"cpu": "500m"}, "resources": {"requests": {"cpu": "700m"}},
                }],
            },
        }))
        .unwrap();
        of_pod(&pod).get("cpu")
    }

    #[test]
    fn a_pod_that_is_resized_counts_with_the_most_that_it_may_have() {
        assert_eq!(cpu("Deferred"), 2000);
        assert_eq!(cpu("Infeasible"), 700);
    }
}

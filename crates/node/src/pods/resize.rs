//! In-place resize (KEP-1287): what a pod asks for, what the node has agreed to, and what its
//! containers have. Pure; the rules are those of upstream's `pkg/kubelet/allocation` and of
//! `computePodResizeAction` in `kuberuntime_manager.go`.

use super::spec::{self, Role};
use crate::quantities;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Resources by container, of those that may be resized, and of the pod as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    pub pod: Option<ResourceRequirements>,
    pub containers: BTreeMap<String, ResourceRequirements>,
}

/// How a running container comes to its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Update,
    Restart,
}

fn resizable(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec::inits(spec).iter().filter(|c| spec::role_of_init(c) == Role::Sidecar))
}

impl Shares {
    /// What the object asks for.
    pub fn wanted(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let containers = resizable(spec).map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect();
        Self { pod: spec.resources.clone(), containers }
    }

    /// What the node had agreed to before this agent began, as it told the API. The API is the only
    /// memory of it: a container that nothing was told of has what the object asks for.
    pub fn told(pod: &Pod) -> Self {
        let mut shares = Self::wanted(pod);
        for (name, resources) in &mut shares.containers {
            if let Some(told) = told(pod, name) {
                *resources = ResourceRequirements { claims: resources.claims.take(), ..told };
            }
        }
        shares
    }

    /// The pod as the node has agreed to run it.
    pub fn apply(&self, pod: Arc<Pod>) -> Arc<Pod> {
        if *self == Self::wanted(&pod) {
            return pod;
        }
        let mut pod = Arc::unwrap_or_clone(pod);
        if let Some(spec) = &mut pod.spec {
            spec.resources = self.pod.clone();
            for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
                if let Some(resources) = self.containers.get(&container.name) {
                    container.resources = Some(resources.clone());
                }
            }
        }
        Arc::new(pod)
    }
}

/// What the status says that a container has.
pub fn told(pod: &Pod, name: &str) -> Option<ResourceRequirements> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let told = lists.into_iter().flatten().flatten().find(|s| s.name == name && s.state.as_ref().is_some_and(|s| s.running.is_some()))?;
    let mut resources = told.resources.clone()?;
    if told.allocated_resources.is_some() {
        resources.requests = told.allocated_resources.clone();
    }
    Some(resources)
}

/// Request and limit of cpu (milli) and of memory.
fn figures(resources: &ResourceRequirements, name: &str) -> (i64, i64) {
    let number = |q: Option<meta::Quantity>| q.map_or(0, |q| if name == "cpu" { q.milli_value() } else { q.value() });
    (number(quantities::request(Some(resources), name)), number(quantities::limit(Some(resources), name)))
}

pub fn change(container: &Container, has: &ResourceRequirements) -> Change {
    let empty = ResourceRequirements::default();
    let wanted = container.resources.as_ref().unwrap_or(&empty);
    let mut change = Change::None;
    for name in ["cpu", "memory"] {
        if figures(wanted, name) == figures(has, name) {
            continue;
        }
        let policy = container.resize_policy.iter().flatten().find(|p| p.resource_name == name);
        if policy.is_some_and(|p| p.restart_policy == "RestartContainer") {
            return Change::Restart;
        }
        change = Change::Update;
    }
    change
}

/// The memory limit, if it goes down; one where there was none counts.
pub fn new_lower_limit(wanted: &ResourceRequirements, has: &ResourceRequirements) -> Option<i64> {
    let (new, old) = (figures(wanted, "memory").1, figures(has, "memory").1);
    (new != 0 && (old == 0 || new < old)).then_some(new)
}

/// Decreases come before increases, so that the pod never has more than both.
pub fn grows(wanted: &ResourceRequirements, has: &ResourceRequirements) -> bool {
    ["cpu", "memory"].iter().any(|name| {
        let (new, old) = (figures(wanted, name), figures(has, name));
        new.0 > old.0 || new.1 > old.1
    })
}

/// The message of an event about a resize.
pub fn message(what: &str, pod: &Pod, error: Option<&str>) -> String {
    let list = |containers: &[Container]| {
        let one = |c: &Container| serde_json::json!({"name": c.name, "resources": c.resources.clone().unwrap_or_default()});
        containers.iter().map(one).collect::<Vec<_>>()
    };
    let mut summary = serde_json::Map::new();
    if let Some(spec) = &pod.spec {
        if !spec::inits(spec).is_empty() {
            summary.insert("initContainers".into(), list(spec::inits(spec)).into());
        }
        summary.insert("containers".into(), list(&spec.containers).into());
    }
    summary.insert("generation".into(), pod.metadata.generation.unwrap_or_default().into());
    if let Some(error) = error {
        summary.insert("error".into(), error.into());
    }
    format!("Pod resize {what}: {}", serde_json::Value::Object(summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources(cpu: &str, memory: &str) -> ResourceRequirements {
        serde_json::from_value(json!({"requests": {"cpu": cpu}, "limits": {"memory": memory}})).unwrap()
    }

    #[test]
    fn a_container_is_restarted_only_where_its_policy_asks_for_it() {
        let container = |cpu: &str, memory: &str| -> Container {
            serde_json::from_value(json!({
                "name": "a", "resources": resources(cpu, memory),
                "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
            }))
            .unwrap()
        };
        let has = resources("1", "64Mi");
        assert_eq!(change(&container("1000m", "65536Ki"), &has), Change::None);
        assert_eq!(change(&container("2", "64Mi"), &has), Change::Update);
        assert_eq!(change(&container("2", "32Mi"), &has), Change::Restart);
    }

    #[test]
    fn what_was_agreed_is_read_back_from_the_status_and_put_over_the_object() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "a", "resources": resources("2", "64Mi")}, {"name": "b", "resources": resources("1", "1Mi")}]},
            "status": {"containerStatuses": [{
                "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}},
                "allocatedResources": {"cpu": "1"}, "resources": resources("1", "32Mi"),
            }]},
        }))
        .unwrap();
        let shares = Shares::told(&pod);
        let agreed = shares.apply(Arc::new(pod));
        let spec = agreed.spec.as_ref().unwrap();
        assert_eq!(spec.containers[0].resources, Some(resources("1", "32Mi")));
        assert_eq!(spec.containers[1].resources, Some(resources("1", "1Mi")));
    }
}

//! What a pod asks of a node, in milli-units of cpu, bytes and counts: the scheduler and the node agent
//! must count alike, or the one refuses what the other has placed.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// Requests by resource name; cpu in milli-units, the rest in whole ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts(pub BTreeMap<String, i64>);

impl Amounts {
    pub fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        Self(quantities.into_iter().flatten().map(|(name, quantity)| (name.clone(), amount(name, quantity))).collect())
    }

    pub fn requested(resources: Option<&ResourceRequirements>) -> Self {
        Self::of(resources.and_then(|r| r.requests.as_ref()))
    }

    pub fn quantities(&self) -> BTreeMap<String, Quantity> {
        let text = |name: &str, amount: i64| if name == "cpu" { format!("{amount}m") } else { amount.to_string() };
        self.0.iter().map(|(name, amount)| (name.clone(), Quantity(text(name, *amount)))).collect()
    }

    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let slot = self.0.entry(name.clone()).or_insert(0);
            *slot = slot.saturating_add(*amount);
        }
    }

    pub fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let slot = self.0.entry(name.clone()).or_insert(0);
            *slot = (*slot).max(*amount);
        }
    }
}

fn amount(name: &str, quantity: &Quantity) -> i64 {
    // What is no quantity was never admitted.
    let Ok(parsed) = meta::Quantity::parse(&quantity.0) else { return 0 };
    if name == "cpu" { parsed.milli_value() } else { parsed.value() }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The sum of the containers and sidecars, or what the hungriest init container needs beside the
/// sidecars started before it, whichever is more (KEP-753), with the runtime's overhead.
pub fn of_pod(spec: &PodSpec) -> Amounts {
    let mut running = Amounts::default();
    for container in &spec.containers {
        running.add(&Amounts::requested(container.resources.as_ref()));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needs = Amounts::requested(container.resources.as_ref());
        if is_sidecar(container) {
            sidecars.add(&needs);
            starting.raise(&sidecars);
        } else {
            needs.add(&sidecars);
            starting.raise(&needs);
        }
    }
    running.add(&sidecars);
    running.raise(&starting);
    // Requests of the pod as a whole replace the sum (KEP-2837).
    for (name, amount) in Amounts::requested(spec.resources.as_ref()).0 {
        running.0.insert(name, amount);
    }
    running.add(&Amounts::of(spec.overhead.as_ref()));
    running
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_count_where_they_need_more_than_the_rest() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}}}],
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "1", "memory": "10Mi"}}},
            ],
        }))
        .unwrap();
        let amounts = of_pod(&spec);
        assert_eq!((amounts.get("cpu"), amounts.get("memory")), (1100, 1 << 30));
    }
}

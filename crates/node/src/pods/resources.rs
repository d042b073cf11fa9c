//! What a pod asks for and may use, in the runtime's terms.

use crate::cri::api::{HugepageLimit, LinuxContainerResources};
use crate::quantities;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use meta::quantity::Quantity;
use std::collections::HashMap;

const PERIOD: i64 = 100_000;
const LEAST_QUOTA: i64 = 1000;
const LEAST_SHARES: i64 = 2;
const MOST_SHARES: i64 = 262_144;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::BestEffort };
        if let Some(resources) = &spec.resources
            && amounts(Some(resources)).iter().any(|(r, l)| r.is_some() || l.is_some())
        {
            let equal = amounts(Some(resources)).iter().all(|(r, l)| l.is_some() && (r.is_none() || r == l));
            return if equal { Self::Guaranteed } else { Self::Burstable };
        }
        let mut any = false;
        let mut guaranteed = true;
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            for (request, limit) in amounts(container.resources.as_ref()) {
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}

/// Request and limit of cpu and of memory, where they are more than nothing.
fn amounts(resources: Option<&ResourceRequirements>) -> [(Option<Quantity>, Option<Quantity>); 2] {
    ["cpu", "memory"].map(|name| {
        let some = |q: Option<Quantity>| q.filter(|q| q.signum() > 0);
        (some(quantities::request(resources, name)), some(quantities::limit(resources, name)))
    })
}

pub fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 { LEAST_SHARES } else { (milli_cpu.saturating_mul(1024) / 1000).clamp(LEAST_SHARES, MOST_SHARES) }
}

pub fn quota(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(PERIOD) / 1000).max(LEAST_QUOTA)
}

pub fn of_container(pod: &Pod, container: &Container, node_memory: i64, unified: bool) -> LinuxContainerResources {
    let resources = container.resources.as_ref();
    let cpu_limit = quantities::limit(resources, "cpu");
    let cpu_request = quantities::request(resources, "cpu").or(cpu_limit);
    let memory_limit = quantities::limit(resources, "memory").map_or(0, |q| q.value());
    let mut linux = LinuxContainerResources {
        cpu_shares: shares(cpu_request.map_or(0, |q| q.milli_value())),
        memory_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score(pod, container, node_memory),
        ..Default::default()
    };
    if let Some(limit) = cpu_limit.filter(|q| q.signum() > 0) {
        linux.cpu_period = PERIOD;
        linux.cpu_quota = quota(limit.milli_value());
    }
    for (name, amount) in resources.and_then(|r| r.limits.as_ref()).into_iter().flatten() {
        if let Some(size) = name.strip_prefix("hugepages-") {
            let limit = u64::try_from(quantities::parse(amount).value()).unwrap_or(0);
            linux.hugepage_limits.push(HugepageLimit { page_size: size.replace("i", "B"), limit });
        }
    }
    if unified {
        // The kernel ends all processes of a container together.
        linux.unified = HashMap::from([("memory.oom.group".to_string(), "1".to_string())]);
    }
    linux
}

fn oom_score(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    let critical = pod.spec.as_ref().and_then(|s| s.priority).is_some_and(|p| p >= 2_000_001_000);
    match Qos::of(pod) {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = quantities::request(container.resources.as_ref(), "memory").map_or(0, |q| q.value());
            let share = i128::from(request) * 1000 / i128::from(node_memory.max(1));
            // Between what the guaranteed and what the best-effort have.
            i64::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// Requests and limits of the whole pod, for its cgroup.
pub struct Totals {
    pub cpu_request: i64,
    pub cpu_limit: Option<i64>,
    pub memory_limit: Option<i64>,
}

pub fn totals(spec: &PodSpec) -> Totals {
    let sidecars: Vec<&Container> = super::spec::sidecars(spec).collect();
    let all: Vec<&Container> = spec.containers.iter().chain(sidecars).collect();
    let sum = |pick: &dyn Fn(&Container) -> Option<i64>| all.iter().map(|c| pick(c)).sum::<Option<i64>>();
    let highest = |least: i64, pick: &dyn Fn(&Container) -> Option<i64>| {
        let inits = spec.init_containers.iter().flatten();
        inits.filter_map(pick).fold(least, i64::max)
    };
    let request = |c: &Container| {
        let r = c.resources.as_ref();
        Some(quantities::request(r, "cpu").or_else(|| quantities::limit(r, "cpu")).map_or(0, |q| q.milli_value()))
    };
    let cpu = |c: &Container| quantities::limit(c.resources.as_ref(), "cpu").map(|q| q.milli_value());
    let memory = |c: &Container| quantities::limit(c.resources.as_ref(), "memory").map(|q| q.value());
    // What is said of the pod as a whole comes before the sum (KEP-2837).
    let whole = spec.resources.as_ref();
    let whole_request = quantities::request(whole, "cpu").or_else(|| quantities::limit(whole, "cpu"));
    Totals {
        cpu_request: whole_request.map_or_else(|| highest(sum(&request).unwrap_or(0), &request), |q| q.milli_value()),
        cpu_limit: quantities::limit(whole, "cpu").map(|q| q.milli_value()).or_else(|| sum(&cpu).map(|s| highest(s, &cpu))),
        memory_limit: quantities::limit(whole, "memory").map(|q| q.value()).or_else(|| sum(&memory).map(|s| highest(s, &memory))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"spec": {"containers": [{"name": "a", "resources": resources}]}})).expect("a pod")
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        assert_eq!(Qos::of(&pod(serde_json::json!({}))), Qos::BestEffort);
        assert_eq!(Qos::of(&pod(serde_json::json!({"requests": {"cpu": "1"}}))), Qos::Burstable);
        let both = serde_json::json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(Qos::of(&pod(serde_json::json!({"requests": both, "limits": both}))), Qos::Guaranteed);
        assert_eq!(Qos::of(&pod(serde_json::json!({"limits": {"cpu": "1"}}))), Qos::Burstable);
    }

    #[test]
    fn limits_become_cgroup_settings() {
        let pod = pod(serde_json::json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}));
        let linux = of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 32, false);
        assert_eq!((linux.cpu_shares, linux.cpu_quota, linux.cpu_period, linux.memory_limit_in_bytes), (256, 50_000, 100_000, 64 << 20));
        assert_eq!(linux.oom_score_adj, 999);
    }
}

//! `/metrics/resource`, what containers and the node use, for those who scrape it, and `/metrics`, the node agent's own figures.

use super::{Inner, Refusal, stats};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A family in the text format of Prometheus.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

pub fn own(inner: &Inner) -> String {
    let pods = inner.pods.list();
    let running = pods.iter().filter(|p| p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")).count();
    let mut states = BTreeMap::from([("created", 0), ("exited", 0), ("running", 0)]);
    let statuses = pods
        .iter()
        .filter_map(|p| p.status.as_ref())
        .flat_map(|s| [&s.init_container_statuses, &s.container_statuses, &s.ephemeral_container_statuses].into_iter().flatten().flatten());
    for state in statuses.filter_map(|s| s.state.as_ref()) {
        let state = match state {
            s if s.running.is_some() => "running",
            s if s.terminated.is_some() => "exited",
            _ => "created",
        };
        *states.entry(state).or_default() += 1;
    }
    let mut out = String::new();
    family(&mut out, "kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.");
    let _ = writeln!(out, "kubelet_node_name{} 1", labels(&[("node", &inner.node)]));
    family(&mut out, "kubelet_running_containers", "gauge", "[ALPHA] Number of containers currently running");
    for (state, count) in states {
        let _ = writeln!(out, "kubelet_running_containers{} {count}", labels(&[("container_state", state)]));
    }
    family(&mut out, "kubelet_running_pods", "gauge", "[ALPHA] Number of pods that have a running pod sandbox");
    let _ = writeln!(out, "kubelet_running_pods {running}");
    out
}

pub async fn resource(inner: &Inner) -> Result<String, Refusal> {
    Ok(text(&stats::summary(inner).await?, &inner.pods.list()))
}

/// What is told of a container, a pod or the node: the part of the summary and what a figure of it counts in.
const CPU: (&str, &str, f64) = ("cpu", "usageCoreNanoSeconds", 1e-9);
const MEMORY: (&str, &str, f64) = ("memory", "workingSetBytes", 1.0);

fn sample(of: &Value, (part, field, unit): (&str, &str, f64)) -> Option<(f64, i64)> {
    let part = of.get(part)?;
    let at: Timestamp = part.get("time")?.as_str()?.parse().ok()?;
    Some((part.get(field)?.as_f64()? * unit, at.as_millisecond()))
}

fn text(summary: &Value, pods: &[std::sync::Arc<Pod>]) -> String {
    let list = |v: &Value, name: &str| v.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |v: &Value, path: &str| v.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string();
    let (mut containers, mut whole) = (Vec::new(), Vec::new());
    for entry in list(summary, "pods") {
        let (pod, namespace) = (name(&entry, "/podRef/name"), name(&entry, "/podRef/namespace"));
        for container in list(&entry, "containers") {
            let named = name(&container, "/name");
            let labels = labels(&[("container", &named), ("namespace", &namespace), ("pod", &pod)]);
            containers.push((labels, container));
        }
        whole.push((labels(&[("namespace", &namespace), ("pod", &pod)]), entry));
    }
    let node = vec![(String::new(), summary.get("node").cloned().unwrap_or_default())];
    let mut out = String::new();
    for (prefix, of, all) in [("container", "container", &containers), ("node", "node", &node), ("pod", "pod", &whole)] {
        let cpu = format!("{prefix}_cpu_usage_seconds_total");
        family(&mut out, &cpu, "counter", &format!("[STABLE] Cumulative cpu time consumed by the {of} in core-seconds"));
        for (labels, (value, at)) in all.iter().filter_map(|(l, v)| Some((l, sample(v, CPU)?))) {
            let _ = writeln!(out, "{cpu}{labels} {value} {at}");
        }
        let memory = format!("{prefix}_memory_working_set_bytes");
        family(&mut out, &memory, "gauge", &format!("[STABLE] Current working set of the {of} in bytes"));
        for (labels, (value, at)) in all.iter().filter_map(|(l, v)| Some((l, sample(v, MEMORY)?))) {
            let _ = writeln!(out, "{memory}{labels} {value} {at}");
        }
    }
    let started = "container_start_time_seconds";
    family(&mut out, started, "gauge", "[STABLE] Start time of the container since unix epoch in seconds");
    for pod in pods {
        let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
        for status in statuses.into_iter().flatten() {
            let at = status.state.as_ref().and_then(|s| s.running.as_ref()?.started_at.as_ref()).map(|t| t.0.as_second());
            let Some(at) = at else { continue };
            let (namespace, pod) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
            let pairs = [("container", status.name.as_str()), ("namespace", namespace.unwrap_or("")), ("pod", pod.unwrap_or(""))];
            let _ = writeln!(out, "{started}{} {at}", labels(&pairs));
        }
    }
    family(&mut out, "resource_scrape_error", "gauge", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise");
    out.push_str("resource_scrape_error 0\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_is_told_per_container_pod_and_node() {
        let usage = json!({"time": "2026-01-01T00:00:00Z", "usageCoreNanoSeconds": 1_500_000_000, "workingSetBytes": 4096});
        let container = json!({"name": "c", "cpu": usage, "memory": usage});
        let pod = json!({"podRef": {"name": "p", "namespace": "n"}, "cpu": usage, "containers": [container]});
        let text = text(&json!({"node": {"memory": usage}, "pods": [pod]}), &[]);
        for line in [
            "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 1767225600000",
            "container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 4096 1767225600000",
            "pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 1.5 1767225600000",
            "node_memory_working_set_bytes 4096 1767225600000",
            "resource_scrape_error 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(!text.contains("pod_memory_working_set_bytes{"));
    }
}

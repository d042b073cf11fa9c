//! `/metrics/resource`, what containers and the node use, for those who scrape it, and `/metrics`, the node agent's own figures.

use super::{Inner, Refusal, stats};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use serde_json::Value;
use std::collections::BTreeMap;

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn metric(labels: &Labels<'_>, kind: MetricType, value: f64) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    };
    let mut metric = Metric::from_label(labels.iter().map(pair).collect());
    match kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        _ => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn family(name: &str, kind: MetricType, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// In the text format. A family that nothing is in is left out.
fn encode(families: &[MetricFamily]) -> Result<String, Refusal> {
    let mut out = Vec::new();
    for family in families.iter().filter(|family| !family.get_metric().is_empty()) {
        TextEncoder::new().encode(std::slice::from_ref(family), &mut out).map_err(Refusal::internal)?;
    }
    String::from_utf8(out).map_err(Refusal::internal)
}

pub fn own(inner: &Inner) -> Result<String, Refusal> {
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
    let gauge = |labels: Labels<'_>, value: f64| metric(&labels, MetricType::GAUGE, value);
    let containers = states.into_iter().map(|(state, count)| gauge(vec![("container_state", state)], f64::from(count))).collect();
    let named = vec![gauge(vec![("node", &inner.node)], 1.0)];
    let sandboxes = vec![gauge(Vec::new(), running as f64)];
    encode(&[
        family("kubelet_node_name", MetricType::GAUGE, "[ALPHA] The node's name. The count is always 1.", named),
        family("kubelet_running_containers", MetricType::GAUGE, "[ALPHA] Number of containers currently running", containers),
        family("kubelet_running_pods", MetricType::GAUGE, "[ALPHA] Number of pods that have a running pod sandbox", sandboxes),
    ])
}

pub async fn resource(inner: &Inner) -> Result<String, Refusal> {
    text(&stats::summary(inner).await?, &inner.pods.list())
}

/// What is told of a container, a pod or the node: the part of the summary and what a figure of it counts in.
const CPU: (&str, &str, f64) = ("cpu", "usageCoreNanoSeconds", 1e-9);
const MEMORY: (&str, &str, f64) = ("memory", "workingSetBytes", 1.0);

fn sample(of: &Value, (part, field, unit): (&str, &str, f64)) -> Option<(f64, i64)> {
    let part = of.get(part)?;
    let at: Timestamp = part.get("time")?.as_str()?.parse().ok()?;
    Some((part.get(field)?.as_f64()? * unit, at.as_millisecond()))
}

fn text(summary: &Value, pods: &[std::sync::Arc<Pod>]) -> Result<String, Refusal> {
    let list = |v: &Value, name: &str| v.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut containers, mut whole) = (Vec::new(), Vec::new());
    for entry in list(summary, "pods") {
        for container in list(&entry, "containers") {
            containers.push((entry["podRef"].clone(), container));
        }
        whole.push((entry["podRef"].clone(), entry));
    }
    let node = vec![(Value::Null, summary.get("node").cloned().unwrap_or_default())];
    let mut families = Vec::new();
    for (of, all) in [("container", &containers), ("node", &node), ("pod", &whole)] {
        let mut add = |name: &str, kind, help: String, figure| {
            let metrics = all.iter().filter_map(|(reference, entry)| {
                let (value, at) = sample(entry, figure)?;
                let mut labels: Labels<'_> = Vec::new();
                if of == "container" {
                    labels.push(("container", entry["name"].as_str().unwrap_or_default()));
                }
                if of != "node" {
                    labels.push(("namespace", reference["namespace"].as_str().unwrap_or_default()));
                    labels.push(("pod", reference["name"].as_str().unwrap_or_default()));
                }
                let mut metric = metric(&labels, kind, value);
                metric.set_timestamp_ms(at);
                Some(metric)
            });
            families.push(family(&format!("{of}_{name}"), kind, &help, metrics.collect()));
        };
        let cpu = format!("[STABLE] Cumulative cpu time consumed by the {of} in core-seconds");
        add("cpu_usage_seconds_total", MetricType::COUNTER, cpu, CPU);
        add("memory_working_set_bytes", MetricType::GAUGE, format!("[STABLE] Current working set of the {of} in bytes"), MEMORY);
    }
    let statuses = pods.iter().flat_map(|pod| pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).map(move |s| (pod, s)));
    let started = statuses.filter_map(|(pod, status)| {
        let at = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0.as_second();
        let (namespace, pod) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        let labels = vec![("container", status.name.as_str()), ("namespace", namespace.unwrap_or("")), ("pod", pod.unwrap_or(""))];
        Some(metric(&labels, MetricType::GAUGE, at as f64))
    });
    let help = "[STABLE] Start time of the container since unix epoch in seconds";
    families.push(family("container_start_time_seconds", MetricType::GAUGE, help, started.collect()));
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    families.push(family("resource_scrape_error", MetricType::GAUGE, help, vec![metric(&Vec::new(), MetricType::GAUGE, 0.0)]));
    encode(&families)
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
        let text = text(&json!({"node": {"memory": usage}, "pods": [pod]}), &[]).unwrap();
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

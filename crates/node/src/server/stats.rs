//! `/stats/summary`: what pods use, as far as the runtime tells, and the node itself.

use super::{Inner, Refusal};
use crate::cri::api::{ContainerStats, CpuUsage, FilesystemUsage, MemoryUsage};
use crate::cri::labels;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub async fn summary(inner: &Inner) -> Result<Value, Refusal> {
    let containers = inner.runtime.container_stats().await.map_err(Refusal::internal)?;
    // Runtimes of before CRI's pod statistics do not know them.
    let sandboxes = inner.runtime.sandbox_stats().await.unwrap_or_default();
    let mut of_pods: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for stats in &containers {
        let Some(uid) = stats.attributes.as_ref().and_then(|a| a.labels.get(labels::POD_UID)) else { continue };
        of_pods.entry(uid.clone()).or_default().push(container(stats));
    }
    let mut pods = Vec::new();
    for pod in inner.pods.list() {
        let (meta, uid) = (&pod.metadata, pod.metadata.uid.clone().unwrap_or_default());
        let containers = of_pods.remove(&uid).unwrap_or_default();
        let mut entry = Map::new();
        entry.insert("podRef".into(), json!({"name": meta.name, "namespace": meta.namespace, "uid": uid}));
        entry.insert("startTime".into(), json!(pod.status.as_ref().and_then(|s| s.start_time.as_ref())));
        let sandbox = sandboxes.iter().find(|s| s.attributes.as_ref().and_then(|a| a.labels.get(labels::POD_UID)) == Some(&uid));
        let linux = sandbox.and_then(|s| s.linux.as_ref());
        match linux.and_then(|l| l.cpu.as_ref()) {
            Some(usage) => put(&mut entry, "cpu", cpu(usage)),
            None => put(&mut entry, "cpu", sum(&containers, "cpu", &["usageNanoCores", "usageCoreNanoSeconds"])),
        }
        match linux.and_then(|l| l.memory.as_ref()) {
            Some(usage) => put(&mut entry, "memory", memory(usage)),
            None => put(&mut entry, "memory", sum(&containers, "memory", &["usageBytes", "workingSetBytes", "rssBytes"])),
        }
        if let Some(network) = linux.and_then(|l| l.network.as_ref()).and_then(|n| Some((n.timestamp, n.default_interface.as_ref()?))) {
            let (at, interface) = network;
            let value = |v: &Option<crate::cri::api::UInt64Value>| v.as_ref().map(|v| v.value);
            let counters = json!({
                "time": time(at), "name": interface.name,
                "rxBytes": value(&interface.rx_bytes), "rxErrors": value(&interface.rx_errors),
                "txBytes": value(&interface.tx_bytes), "txErrors": value(&interface.tx_errors),
            });
            put(&mut entry, "network", counters);
        }
        entry.insert("containers".into(), Value::Array(containers));
        pods.push(Value::Object(entry));
    }
    Ok(json!({"node": node(&inner.node).await, "pods": pods}))
}

fn put(entry: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        entry.insert(name.into(), value);
    }
}

fn time(nanos: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

fn cpu(usage: &CpuUsage) -> Value {
    json!({
        "time": time(usage.timestamp),
        "usageNanoCores": usage.usage_nano_cores.as_ref().map_or(0, |v| v.value),
        "usageCoreNanoSeconds": usage.usage_core_nano_seconds.as_ref().map_or(0, |v| v.value),
    })
}

fn memory(usage: &MemoryUsage) -> Value {
    let working = usage.working_set_bytes.as_ref().map_or(0, |v| v.value);
    json!({
        "time": time(usage.timestamp),
        "workingSetBytes": working,
        "usageBytes": usage.usage_bytes.as_ref().map(|v| v.value).filter(|v| *v > 0).unwrap_or(working),
        "rssBytes": usage.rss_bytes.as_ref().map_or(0, |v| v.value),
        "pageFaults": usage.page_faults.as_ref().map_or(0, |v| v.value),
        "majorPageFaults": usage.major_page_faults.as_ref().map_or(0, |v| v.value),
    })
}

fn files(usage: &FilesystemUsage) -> Value {
    json!({
        "time": time(usage.timestamp),
        "usedBytes": usage.used_bytes.as_ref().map_or(0, |v| v.value),
        "inodesUsed": usage.inodes_used.as_ref().map_or(0, |v| v.value),
    })
}

fn container(stats: &ContainerStats) -> Value {
    let name = stats.attributes.as_ref().and_then(|a| a.labels.get(labels::CONTAINER_NAME)).cloned().unwrap_or_default();
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    put(&mut entry, "cpu", stats.cpu.as_ref().map(cpu).unwrap_or_default());
    put(&mut entry, "memory", stats.memory.as_ref().map(memory).unwrap_or_default());
    put(&mut entry, "rootfs", stats.writable_layer.as_ref().map(files).unwrap_or_default());
    Value::Object(entry)
}

/// Of a pod whose sandbox the runtime does not measure.
fn sum(containers: &[Value], part: &str, fields: &[&str]) -> Value {
    let Some(at) = containers.iter().filter_map(|c| c.get(part)?.get("time")?.as_str()).max() else { return Value::Null };
    let mut total = Map::new();
    total.insert("time".into(), at.into());
    for field in fields {
        let sum: u64 = containers.iter().filter_map(|c| c.get(part)?.get(*field)?.as_u64()).sum();
        total.insert((*field).into(), sum.into());
    }
    Value::Object(total)
}

async fn node(name: &str) -> Value {
    let now = Timestamp::now().to_string();
    let read = |path: &'static str| async move { tokio::fs::read_to_string(path).await.unwrap_or_default() };
    let (meminfo, stat, uptime) = tokio::join!(read("/proc/meminfo"), read("/proc/stat"), read("/proc/uptime"));
    let kilobytes = |key: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let used = kilobytes("MemTotal").saturating_sub(kilobytes("MemFree"));
    let available = kilobytes("MemAvailable");
    let seconds = uptime.split_whitespace().next().and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0);
    let started = Timestamp::from_second(Timestamp::now().as_second() - seconds as i64).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    json!({
        "nodeName": name,
        "startTime": started,
        "cpu": {"time": now, "usageCoreNanoSeconds": busy(&stat)},
        "memory": {
            "time": now, "availableBytes": available, "usageBytes": used,
            "workingSetBytes": kilobytes("MemTotal").saturating_sub(available), "rssBytes": kilobytes("AnonPages"),
        },
    })
}

/// Nanoseconds that all processors together were not idle; `/proc/stat` counts hundredths of seconds.
fn busy(stat: &str) -> u64 {
    let Some(line) = stat.lines().find_map(|l| l.strip_prefix("cpu ")) else { return 0 };
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // The fourth and the fifth are idling and waiting for disks; guests' time is in the first two already.
    ticks.iter().take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4).map(|(_, n)| n * 10_000_000).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_busy_when_not_idle() {
        assert_eq!(busy("cpu  1 2 3 100 50 4 0 0 1 0\ncpu0 1 1 1 1\n"), 100_000_000);
    }
}

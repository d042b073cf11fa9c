//! The cgroups above a pod's containers: `<root>/kubepods/<class>/pod<uid>`. They hold the pod's share
//! of the processor and its limits; a failure here costs fairness and is no reason not to run the pod.

use super::resources::{self, Qos};
use crate::config::Config;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::fs;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// Whether the machine runs on the unified hierarchy alone.
pub fn unified() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

fn of_class(config: &Config, class: Qos) -> String {
    let root = format!("{}/kubepods", config.cgroup_root.trim_end_matches('/'));
    match class {
        Qos::Guaranteed => root,
        Qos::Burstable => format!("{root}/burstable"),
        Qos::BestEffort => format!("{root}/besteffort"),
    }
}

pub fn parent(config: &Config, pod: &Pod) -> String {
    format!("{}/pod{}", of_class(config, Qos::of(pod)), pod.uid().unwrap_or_default())
}

pub fn prepare(config: &Config, pod: &Pod) {
    set(config, pod, put);
}

/// Only what becomes more.
pub fn raise(config: &Config, pod: &Pod) {
    set(config, pod, |dir, file, value| {
        let first = |text: &str| text.split_whitespace().next().and_then(|n| n.parse::<i64>().ok());
        let has = fs::read_to_string(dir.join(file)).ok().and_then(|text| first(&text)).filter(|n| *n >= 0);
        if has.zip(first(value)).is_some_and(|(has, wanted)| wanted > has) {
            put(dir, file, value);
        }
    });
}

fn set(config: &Config, pod: &Pod, put: impl Fn(&Path, &str, &str)) {
    let Some(spec) = &pod.spec else { return };
    let totals = resources::totals(spec);
    let path = parent(config, pod);
    let best_effort = of_class(config, Qos::BestEffort);
    if unified() {
        let weight = |shares: i64| (1 + ((shares - 2) * 9999) / 262_142).to_string();
        let dir = place("", &path);
        if let Err(error) = fs::create_dir_all(&dir) {
            tracing::debug!(%error, dir = %dir.display(), "a pod's cgroup cannot be made");
            return;
        }
        let mut above = PathBuf::from(MOUNT);
        for part in path.trim_start_matches('/').split('/') {
            put(&above, "cgroup.subtree_control", "+cpu +memory +pids");
            above.push(part);
        }
        put(&dir, "cgroup.subtree_control", "+cpu +memory +pids");
        put(&place("", &best_effort), "cpu.weight", "1");
        put(&dir, "cpu.weight", &weight(resources::shares(totals.cpu_request)));
        if let Some(limit) = totals.cpu_limit {
            put(&dir, "cpu.max", &format!("{} 100000", resources::quota(limit)));
        }
        if let Some(limit) = totals.memory_limit {
            put(&dir, "memory.max", &limit.to_string());
        }
        if let Some(limit) = config.pod_pids_limit {
            put(&dir, "pids.max", &limit.to_string());
        }
        return;
    }
    for (controller, file, value) in [
        ("cpu", "cpu.shares", Some(resources::shares(totals.cpu_request))),
        ("cpu", "cpu.cfs_quota_us", totals.cpu_limit.map(resources::quota)),
        ("memory", "memory.limit_in_bytes", totals.memory_limit),
        ("pids", "pids.max", config.pod_pids_limit),
    ] {
        let Some(value) = value else { continue };
        let dir = place(controller, &path);
        if let Err(error) = fs::create_dir_all(&dir) {
            tracing::debug!(%error, dir = %dir.display(), "a pod's cgroup cannot be made");
            continue;
        }
        put(&dir, file, &value.to_string());
    }
    put(&place("cpu", &best_effort), "cpu.shares", "2");
}

/// Removes the pod's own cgroups, of whatever class; nothing runs in them any more.
pub fn remove(config: &Config, uid: &str) {
    let controllers: Vec<String> = if unified() {
        vec![String::new()]
    } else {
        let entries = fs::read_dir(MOUNT).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    };
    for controller in controllers {
        for class in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let dir = place(&controller, &format!("{}/pod{uid}", of_class(config, class)));
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                // Folders of containers that are gone; files cannot be removed at all.
                let _ = fs::remove_dir(entry.path());
            }
            let _ = fs::remove_dir(&dir);
        }
    }
}

fn place(controller: &str, path: &str) -> PathBuf {
    Path::new(MOUNT).join(controller).join(path.trim_start_matches('/'))
}

fn put(dir: &Path, file: &str, value: &str) {
    if let Err(error) = fs::write(dir.join(file), value) {
        tracing::debug!(%error, dir = %dir.display(), file, value, "a cgroup setting was refused");
    }
}

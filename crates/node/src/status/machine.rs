//! The machine that the node is.

use crate::config::Config;
use k8s_openapi::api::core::v1::NodeSystemInfo;
use meta::quantity::Quantity;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub type Amounts = BTreeMap<String, Quantity>;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

/// A line of `/proc/meminfo` in bytes.
fn meminfo(name: &str) -> i64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) << 10
}

pub fn memory() -> i64 {
    meminfo("MemTotal")
}

pub fn available_memory() -> i64 {
    meminfo("MemAvailable")
}

pub struct Disk {
    pub total: u64,
    pub available: u64,
}

pub fn disk(path: &Path) -> Option<Disk> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    Some(Disk {
        total: stat.blocks() as u64 * stat.fragment_size() as u64,
        available: stat.blocks_available() as u64 * stat.fragment_size() as u64,
    })
}

pub fn capacity(config: &Config) -> Amounts {
    let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
    let mut amounts = Amounts::from([
        ("cpu".to_string(), Quantity::new(cpus)),
        ("memory".to_string(), Quantity::from_bytes(memory())),
        ("pods".to_string(), Quantity::new(i64::from(config.max_pods))),
    ]);
    if let Some(disk) = disk(&config.root_dir) {
        amounts.insert("ephemeral-storage".into(), Quantity::from_bytes(i64::try_from(disk.total).unwrap_or(i64::MAX)));
    }
    for entry in fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(size) = name.strip_prefix("hugepages-").and_then(|n| n.strip_suffix("kB")?.parse::<i64>().ok()) else { continue };
        let count: i64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        amounts.insert(format!("hugepages-{}", Quantity::from_bytes(size << 10)), Quantity::from_bytes((size << 10) * count));
    }
    amounts
}

/// The capacity without what is held back.
pub fn allocatable(config: &Config) -> Amounts {
    let mut amounts = capacity(config);
    for (name, held) in &config.reserved {
        if let (Some(amount), Ok(held)) = (amounts.get_mut(name), Quantity::parse(held)) {
            amount.sub(&held);
            if amount.signum() < 0 {
                *amount = Quantity::ZERO;
            }
        }
    }
    amounts
}

pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn info(config: &Config, runtime: &str) -> NodeSystemInfo {
    let release = read("/etc/os-release");
    let image = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"').to_string();
    let machine_id = read("/etc/machine-id");
    let uuid = read("/sys/class/dmi/id/product_uuid");
    NodeSystemInfo {
        architecture: architecture().into(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: runtime.to_string(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: config.version.clone(),
        system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
        machine_id,
        operating_system: "linux".into(),
        os_image: image,
        swap: None,
    }
}

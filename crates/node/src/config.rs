//! What the node agent is told by whoever wires it. It reads no other configuration.

use k8s_openapi::api::core::v1::Taint;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Config {
    pub node_name: String,
    /// Pod volumes, `/etc/hosts` files and termination messages live below it.
    pub root_dir: PathBuf,
    /// Container log files, one folder a pod (`/var/log/pods`).
    pub pod_logs_dir: PathBuf,
    /// Links that log collectors follow (`/var/log/containers`).
    pub container_logs_dir: PathBuf,
    /// Path of the runtime's CRI socket.
    pub cri_socket: PathBuf,
    /// Addresses of the cluster DNS that pods are given; empty: as `dnsPolicy: Default`.
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The host's own resolver configuration.
    pub resolv_conf: PathBuf,
    /// Addresses of this node, the primary one first.
    pub node_ips: Vec<IpAddr>,
    /// Range of this node's pods, as the Node object tells it.
    pub pod_cidr: Option<String>,
    pub max_pods: u32,
    pub pod_pids_limit: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Taints given to the Node when it is first registered.
    pub taints: Vec<Taint>,
    /// Held back from pods, by resource name (`cpu`, `memory`).
    pub reserved: BTreeMap<String, String>,
    /// Where the kubelet API is served; told in the Node's status.
    pub api_port: u16,
    /// Parent of all pod cgroups.
    pub cgroup_root: String,
    pub container_log_max_size: u64,
    pub container_log_max_files: usize,
    /// Disk use of the image file system in percent from which images are collected, and to which.
    pub image_gc_high_percent: u8,
    pub image_gc_low_percent: u8,
    /// Names of images that were imported and cannot be pulled again, a line each.
    pub imported_images: PathBuf,
    /// Reported as `kubeletVersion`.
    pub version: String,
}

impl Config {
    pub fn new(node_name: &str, root_dir: PathBuf, cri_socket: PathBuf) -> Self {
        Self {
            node_name: node_name.to_string(),
            root_dir,
            pod_logs_dir: "/var/log/pods".into(),
            container_logs_dir: "/var/log/containers".into(),
            cri_socket,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            node_ips: Vec::new(),
            pod_cidr: None,
            max_pods: 110,
            pod_pids_limit: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            taints: Vec::new(),
            reserved: BTreeMap::new(),
            api_port: 10250,
            cgroup_root: "/".into(),
            container_log_max_size: 10 << 20,
            container_log_max_files: 5,
            image_gc_high_percent: 85,
            image_gc_low_percent: 80,
            imported_images: PathBuf::new(),
            version: "v1.36.2+socle".into(),
        }
    }

    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// `<logs>/<namespace>_<name>_<uid>`, as log collectors expect it.
    pub fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_logs_dir.join(format!("{namespace}_{name}_{uid}"))
    }

    pub fn node_ip(&self) -> Option<IpAddr> {
        self.node_ips.first().copied()
    }
}

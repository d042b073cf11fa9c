//! The configuration of a pod's sandbox. Also handed along with every container and image pull.

use super::resources::{self, Qos};
use super::{cgroups, dns, hosts, security, spec};
use crate::config::Config;
use crate::cri::api::{LinuxContainerResources, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};
use crate::cri::labels;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::HashMap;

pub fn config(pod: &Pod, config: &Config, attempt: u32) -> PodSandboxConfig {
    let (namespace, name, uid) = (pod.namespace().unwrap_or_default(), pod.name_any(), pod.uid().unwrap_or_default());
    let mut all_labels: HashMap<String, String> = pod.labels().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    all_labels.extend([
        (labels::POD_NAME.to_string(), name.clone()),
        (labels::POD_NAMESPACE.to_string(), namespace.clone()),
        (labels::POD_UID.to_string(), uid.clone()),
    ]);
    let host_network = spec::host_network(pod);
    let hostname = if host_network {
        // The node's own name: there is no private one to set.
        String::new()
    } else {
        let short = hosts::hostname(pod);
        let full = pod.spec.as_ref().and_then(|s| s.set_hostname_as_fqdn) == Some(true);
        match hosts::domain(pod, config).filter(|_| full) {
            Some(domain) => format!("{short}.{domain}"),
            None => short,
        }
    };
    let sysctls = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|s| s.sysctls.as_ref());
    let linux = LinuxPodSandboxConfig {
        cgroup_parent: cgroups::parent(config, pod),
        security_context: Some(security::of_sandbox(pod)),
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name.clone(), s.value.clone())).collect(),
        overhead: None,
        resources: Some(sandbox_resources(pod)),
    };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata { name: name.clone(), uid: uid.clone(), namespace: namespace.clone(), attempt }),
        hostname,
        log_directory: config.pod_log_dir(&namespace, &name, &uid).to_string_lossy().into_owned(),
        dns_config: Some(dns::of(pod, config)),
        port_mappings: if host_network { Vec::new() } else { port_mappings(pod) },
        labels: all_labels,
        annotations: pod.annotations().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        linux: Some(linux),
        windows: None,
    }
}

fn sandbox_resources(pod: &Pod) -> LinuxContainerResources {
    let Some(spec) = &pod.spec else { return LinuxContainerResources::default() };
    let totals = resources::totals(spec);
    let guaranteed = Qos::of(pod) == Qos::Guaranteed;
    LinuxContainerResources {
        cpu_shares: resources::shares(totals.cpu_request),
        cpu_period: if guaranteed { 100_000 } else { 0 },
        cpu_quota: totals.cpu_limit.filter(|_| guaranteed).map_or(0, resources::quota),
        memory_limit_in_bytes: totals.memory_limit.filter(|_| guaranteed).unwrap_or(0),
        ..Default::default()
    }
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|s| s.containers.iter().chain(spec::sidecars(s)));
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter(|p| p.host_port.is_some_and(|p| p > 0))
        .map(|p| PortMapping {
            protocol: match p.protocol.as_deref() {
                Some("UDP") => Protocol::Udp as i32,
                Some("SCTP") => Protocol::Sctp as i32,
                _ => Protocol::Tcp as i32,
            },
            container_port: p.container_port,
            host_port: p.host_port.unwrap_or(0),
            host_ip: p.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

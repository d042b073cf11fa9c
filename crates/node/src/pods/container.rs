//! The configuration of one container.

use super::env::Environment;
use super::expand::expand;
use super::spec::{self, Role};
use super::{cgroups, resources, security};
use crate::config::Config;
use crate::cri::api::{ContainerConfig, ContainerMetadata, Device, ImageSpec, KeyValue, LinuxContainerConfig, Mount, MountPropagation};
use crate::cri::labels;
use crate::volumes::{Mounts, subpath};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use kube::ResourceExt;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub const TERMINATION_PATH: &str = "/dev/termination-log";

pub struct Making<'a> {
    pub pod: &'a Pod,
    pub config: &'a Config,
    pub container: &'a Container,
    pub role: Role,
    pub attempt: u32,
    /// Id of the image, as the runtime knows it.
    pub image: &'a str,
    pub env: &'a Environment,
    pub mounts: &'a Mounts,
    pub hosts_file: Option<&'a Path>,
    /// Id of the container that an ephemeral one joins.
    pub target: Option<&'a str>,
    pub node_memory: i64,
}

/// Writes the files that the container needs, so it may block.
pub fn config(making: &Making<'_>) -> Result<ContainerConfig, String> {
    let Making { pod, container, attempt, .. } = making;
    let (namespace, name, uid) = (pod.namespace().unwrap_or_default(), pod.name_any(), pod.uid().unwrap_or_default());
    let known = |name: &str| making.env.get(name);
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| expand(text, &known)).collect::<Vec<_>>();
    let termination_path = container.termination_message_path.as_deref().filter(|p| !p.is_empty()).unwrap_or(TERMINATION_PATH);
    let mut mounts = volume_mounts(making)?;
    let taken = |mounts: &[Mount], path: &str| mounts.iter().any(|m| m.container_path == path);
    if let Some(hosts) = making.hosts_file.filter(|_| !taken(&mounts, "/etc/hosts")) {
        mounts.push(mount("/etc/hosts", hosts, false));
    }
    let message_file = message_file(making).map_err(|e| format!("the file of the termination message: {e}"))?;
    if !taken(&mounts, termination_path) {
        mounts.push(mount(termination_path, &message_file, false));
    }
    let container_labels = HashMap::from([
        (labels::POD_NAME.to_string(), name.clone()),
        (labels::POD_NAMESPACE.to_string(), namespace.clone()),
        (labels::POD_UID.to_string(), uid.clone()),
        (labels::CONTAINER_NAME.to_string(), container.name.clone()),
    ]);
    let grace = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    let annotations = HashMap::from([
        (labels::CONTAINER_HASH.to_string(), spec::hash(container)),
        (labels::RESTART_COUNT.to_string(), attempt.to_string()),
        (labels::TERMINATION_PATH.to_string(), termination_path.to_string()),
        (labels::TERMINATION_POLICY.to_string(), container.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
        (labels::POD_GRACE.to_string(), grace.to_string()),
    ]);
    let log_dir = making.config.pod_log_dir(&namespace, &name, &uid).join(&container.name);
    std::fs::create_dir_all(&log_dir).map_err(|e| format!("creating {}: {e}", log_dir.display()))?;
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: *attempt }),
        image: Some(ImageSpec {
            image: making.image.to_string(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: making.env.pairs().map(|(k, v)| KeyValue { key: k.to_string(), value: v.to_string() }).collect(),
        mounts,
        devices: devices(making)?,
        labels: container_labels,
        annotations,
        log_path: format!("{}/{attempt}.log", container.name),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::of_container(pod, container, making.node_memory, cgroups::unified())),
            security_context: Some(security::of_container(pod, container, making.role, making.target)),
        }),
        ..Default::default()
    })
}

fn mount(path: &str, host: &Path, readonly: bool) -> Mount {
    Mount { container_path: path.to_string(), host_path: host.to_string_lossy().into_owned(), readonly, ..Default::default() }
}

/// A file of its own for every attempt, writable for whoever the container runs as.
fn message_file(making: &Making<'_>) -> std::io::Result<PathBuf> {
    let uid = making.pod.uid().unwrap_or_default();
    let dir = making.config.pod_dir(&uid).join("containers").join(&making.container.name);
    std::fs::create_dir_all(&dir)?;
    let path = dir.join(making.attempt.to_string());
    std::fs::write(&path, b"")?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    Ok(path)
}

fn volume_mounts(making: &Making<'_>) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (index, wanted) in making.container.volume_mounts.iter().flatten().enumerate() {
        let mounted = making.mounts.get(&wanted.name).ok_or_else(|| format!("volume {:?} is not mounted", wanted.name))?;
        let host = match sub_path(making, wanted)? {
            None => mounted.path.clone(),
            Some(sub) => {
                let pod_dir = making.config.pod_dir(&making.pod.uid().unwrap_or_default());
                subpath::bind(&pod_dir, &wanted.name, &mounted.path, &making.container.name, index, &sub).map_err(|e| {
                    format!("failed to prepare subPath for volumeMount {:?} of container {:?}: {e}", wanted.name, making.container.name)
                })?
            }
        };
        // As with Docker, a host path that is not there becomes a folder.
        if !host.exists() {
            std::fs::create_dir_all(&host).map_err(|e| format!("creating {}: {e}", host.display()))?;
        }
        let propagation = match wanted.mount_propagation.as_deref() {
            Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => MountPropagation::PropagationBidirectional,
            _ => MountPropagation::PropagationPrivate,
        };
        let path = if wanted.mount_path.starts_with('/') { wanted.mount_path.clone() } else { format!("/{}", wanted.mount_path) };
        let mut mount = mount(&path, &host, wanted.read_only == Some(true) || mounted.read_only);
        mount.propagation = propagation as i32;
        mounts.push(mount);
    }
    Ok(mounts)
}

fn sub_path(making: &Making<'_>, wanted: &VolumeMount) -> Result<Option<String>, String> {
    if let Some(sub) = wanted.sub_path.as_deref().filter(|s| !s.is_empty()) {
        return Ok(Some(sub.to_string()));
    }
    let Some(expression) = wanted.sub_path_expr.as_deref().filter(|s| !s.is_empty()) else { return Ok(None) };
    let missing = std::cell::RefCell::new(None);
    let expanded = expand(expression, &|name| {
        let value = making.env.get(name);
        if value.is_none() {
            *missing.borrow_mut() = Some(name.to_string());
        }
        value
    });
    if missing.borrow().is_some() {
        return Err(format!(
            "failed to expand subPath expression for volume mount {:?}: missing value for {:?}",
            wanted.name,
            missing.borrow()
        ));
    }
    if expanded.starts_with('/') || expanded.split('/').any(|part| part == "..") {
        return Err(format!("subPath {expanded:?} must be a relative path within the volume"));
    }
    Ok(Some(expanded))
}

fn devices(making: &Making<'_>) -> Result<Vec<Device>, String> {
    let mut devices = Vec::new();
    for wanted in making.container.volume_devices.iter().flatten() {
        let mounted = making.mounts.get(&wanted.name).ok_or_else(|| format!("volume {:?} is not mounted", wanted.name))?;
        if !mounted.block {
            return Err(format!("volume {:?} has volumeMode Filesystem and cannot be used as a device", wanted.name));
        }
        devices.push(Device {
            container_path: wanted.device_path.clone(),
            host_path: mounted.path.to_string_lossy().into_owned(),
            permissions: if mounted.read_only { "r".into() } else { "mrw".into() },
        });
    }
    Ok(devices)
}

//! Security contexts in the runtime's terms; a container's settings come before its pod's.

use super::spec::Role;
use crate::cri::api::security_profile::ProfileType;
use crate::cri::api::{
    Capability, Image, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    SecurityProfile, SupplementalGroupsPolicy,
};
use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};

const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub fn namespaces(pod: &Pod) -> NamespaceOption {
    let Some(spec) = &pod.spec else { return NamespaceOption::default() };
    let node_or = |host: Option<bool>, other: NamespaceMode| if host == Some(true) { NamespaceMode::Node } else { other };
    let pid = if spec.share_process_namespace == Some(true) { NamespaceMode::Pod } else { NamespaceMode::Container };
    NamespaceOption {
        network: node_or(spec.host_network, NamespaceMode::Pod) as i32,
        pid: node_or(spec.host_pid, pid) as i32,
        ipc: node_or(spec.host_ipc, NamespaceMode::Pod) as i32,
        ..Default::default()
    }
}

fn seccomp(profile: Option<&SeccompProfile>) -> SecurityProfile {
    match profile.map(|p| p.type_.as_str()) {
        Some("RuntimeDefault") => SecurityProfile { profile_type: ProfileType::RuntimeDefault as i32, localhost_ref: String::new() },
        Some("Localhost") => {
            let file = profile.and_then(|p| p.localhost_profile.clone()).unwrap_or_default();
            SecurityProfile { profile_type: ProfileType::Localhost as i32, localhost_ref: format!("/var/lib/kubelet/seccomp/{file}") }
        }
        _ => SecurityProfile { profile_type: ProfileType::Unconfined as i32, localhost_ref: String::new() },
    }
}

fn apparmor(profile: Option<&AppArmorProfile>) -> Option<SecurityProfile> {
    let profile = profile?;
    let (kind, file) = match profile.type_.as_str() {
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        "Localhost" => (ProfileType::Localhost, profile.localhost_profile.clone().unwrap_or_default()),
        _ => (ProfileType::Unconfined, String::new()),
    };
    Some(SecurityProfile { profile_type: kind as i32, localhost_ref: file })
}

fn groups(pod: Option<&PodSecurityContext>) -> Vec<i64> {
    let listed = pod.and_then(|p| p.supplemental_groups.clone()).unwrap_or_default();
    pod.and_then(|p| p.fs_group).into_iter().chain(listed).collect()
}

fn groups_policy(pod: Option<&PodSecurityContext>) -> i32 {
    let strict = pod.and_then(|p| p.supplemental_groups_policy.as_deref()) == Some("Strict");
    if strict { SupplementalGroupsPolicy::Strict as i32 } else { SupplementalGroupsPolicy::Merge as i32 }
}

pub fn privileged(container: &Container) -> bool {
    container.security_context.as_ref().is_some_and(|s| s.privileged == Some(true))
}

pub fn of_sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let spec = pod.spec.as_ref();
    let context = spec.and_then(|s| s.security_context.as_ref());
    let any_privileged = spec.is_some_and(|s| s.containers.iter().chain(s.init_containers.iter().flatten()).any(privileged));
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: context.and_then(|c| c.run_as_user).map(|value| Int64Value { value }),
        // A group without a user is no valid setting of a sandbox.
        run_as_group: context.filter(|c| c.run_as_user.is_some()).and_then(|c| c.run_as_group).map(|value| Int64Value { value }),
        supplemental_groups: groups(context),
        supplemental_groups_policy: groups_policy(context),
        privileged: any_privileged,
        seccomp: Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault as i32, localhost_ref: String::new() }),
        ..Default::default()
    }
}

pub fn of_container(pod: &Pod, container: &Container, role: Role, target: Option<&str>) -> LinuxContainerSecurityContext {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref();
    let mut namespaces = namespaces(pod);
    if let Some(target) = target.filter(|_| role == Role::Ephemeral) {
        namespaces.pid = NamespaceMode::Target as i32;
        namespaces.target_id = target.to_string();
    }
    let privileged = privileged(container);
    let unmasked = own.and_then(|s| s.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |list: &[&str]| if unmasked || privileged { Vec::new() } else { list.iter().map(ToString::to_string).collect() };
    let capabilities = own.and_then(|s| s.capabilities.as_ref()).map(|c| Capability {
        add_capabilities: c.add.clone().unwrap_or_default(),
        drop_capabilities: c.drop.clone().unwrap_or_default(),
        ..Default::default()
    });
    LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespaces),
        run_as_user: user(own, of_pod).map(|value| Int64Value { value }),
        run_as_group: own.and_then(|s| s.run_as_group).or_else(|| of_pod.and_then(|p| p.run_as_group)).map(|value| Int64Value { value }),
        readonly_rootfs: own.is_some_and(|s| s.read_only_root_filesystem == Some(true)),
        supplemental_groups: groups(of_pod),
        supplemental_groups_policy: groups_policy(of_pod),
        no_new_privs: own.is_some_and(|s| s.allow_privilege_escalation == Some(false)),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(own.and_then(|s| s.seccomp_profile.as_ref()).or_else(|| of_pod.and_then(|p| p.seccomp_profile.as_ref())))),
        apparmor: apparmor(own.and_then(|s| s.app_armor_profile.as_ref()).or_else(|| of_pod.and_then(|p| p.app_armor_profile.as_ref()))),
        ..Default::default()
    }
}

fn user(own: Option<&SecurityContext>, of_pod: Option<&PodSecurityContext>) -> Option<i64> {
    own.and_then(|s| s.run_as_user).or_else(|| of_pod.and_then(|p| p.run_as_user))
}

/// `runAsNonRoot`: who the image says it runs as must be known, and not root.
pub fn verify_user(pod: &Pod, container: &Container, image: &Image) -> Result<(), String> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref();
    let demanded = own.and_then(|s| s.run_as_non_root).or_else(|| of_pod.and_then(|p| p.run_as_non_root));
    if demanded != Some(true) {
        return Ok(());
    }
    let meta = &pod.metadata;
    let place = || {
        let (name, namespace) = (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default());
        format!("(pod: \"{name}_{namespace}({})\", container: {})", meta.uid.as_deref().unwrap_or_default(), container.name)
    };
    match user(own, of_pod) {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {}", place())),
        Some(_) => return Ok(()),
        None => {}
    }
    match &image.uid {
        Some(uid) if uid.value == 0 => Err(format!("container has runAsNonRoot and image will run as root {}", place())),
        Some(_) => Ok(()),
        None if image.username.is_empty() => Err(format!("container has runAsNonRoot and image will run as root {}", place())),
        None => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {}",
            image.username,
            place()
        )),
    }
}

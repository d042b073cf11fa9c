//! A pod's containers as one list, whatever their role.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Init,
    /// An init container with `restartPolicy: Always` (KEP 753).
    Sidecar,
    Main,
    Ephemeral,
}

pub fn role_of_init(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
}

pub fn inits(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

pub fn sidecars(spec: &PodSpec) -> impl DoubleEndedIterator<Item = &Container> {
    inits(spec).iter().filter(|c| role_of_init(c) == Role::Sidecar)
}

pub fn ephemerals(spec: &PodSpec) -> &[EphemeralContainer] {
    spec.ephemeral_containers.as_deref().unwrap_or_default()
}

/// The container of that name, with its role; an ephemeral one in the form of the others.
pub fn find(spec: &PodSpec, name: &str) -> Option<(Container, Role)> {
    if let Some(container) = spec.containers.iter().find(|c| c.name == name) {
        return Some((container.clone(), Role::Main));
    }
    if let Some(container) = inits(spec).iter().find(|c| c.name == name) {
        return Some((container.clone(), role_of_init(container)));
    }
    ephemerals(spec).iter().find(|c| c.name == name).map(|c| (as_container(c), Role::Ephemeral))
}

pub fn as_container(e: &EphemeralContainer) -> Container {
    let e = e.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        lifecycle: e.lifecycle,
        liveness_probe: e.liveness_probe,
        name: e.name,
        ports: e.ports,
        readiness_probe: e.readiness_probe,
        resize_policy: e.resize_policy,
        resources: e.resources,
        restart_policy: e.restart_policy,
        restart_policy_rules: e.restart_policy_rules,
        security_context: e.security_context,
        startup_probe: e.startup_probe,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_devices: e.volume_devices,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
    }
}

/// Of what an update may change: a running container with another hash is replaced. Kept in the
/// runtime, so it must never depend on a default or on the version of this program.
pub fn hash(container: &Container) -> String {
    let mut digest = Sha256::new();
    digest.update(container.name.as_bytes());
    digest.update([0]);
    digest.update(container.image.as_deref().unwrap_or_default().as_bytes());
    digest.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect()
}

pub fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true))
}

/// Whether a container that ended is started again. The container's own rules come before its
/// policy, and both before the pod's (KEP 5307).
pub fn restarts(spec: &PodSpec, container: &Container, role: Role, exit_code: i32) -> bool {
    match role {
        Role::Sidecar => return true,
        Role::Ephemeral => return false,
        Role::Init | Role::Main => {}
    }
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|v| *v == exit_code);
        let fits = if codes.operator == "NotIn" { !listed } else { listed };
        if fits && rule.action.starts_with("Restart") {
            return true;
        }
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always");
    match policy {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        // An init container is done once it succeeds.
        _ => role == Role::Main || exit_code != 0,
    }
}

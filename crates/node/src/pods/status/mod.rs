//! The status of a pod, from what is known of it. Pure; phases and conditions are those of upstream's
//! `kubelet_pods.go` and `status/generate.go`.

mod conditions;
mod patch;

pub use patch::patch;

use super::plan::Waiting;
use super::resources::Qos;
use super::spec::{self, Role};
use super::state::{Observed, Run, Seen, seconds};
use super::worker::Resize;
use crate::probes::Health;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodIP,
    PodSpec, PodStatus, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

pub struct Known<'a> {
    pub pod: &'a Pod,
    pub observed: &'a Observed,
    pub health: &'a HashMap<String, Health>,
    pub waiting: &'a BTreeMap<String, Waiting>,
    pub resize: &'a Resize,
    /// The pod will not run any more; its containers may still be ending.
    pub finished: bool,
    /// All containers have ended, and the pod is on its way out.
    pub ended: bool,
    /// Why the pod was ended by the agent.
    pub cause: Option<&'a (String, String)>,
    pub ips: &'a [String],
    pub host_ips: &'a [IpAddr],
    pub start_time: Timestamp,
    pub runtime: &'a str,
    pub now: Timestamp,
}

pub fn status(known: &Known<'_>) -> PodStatus {
    let Some(spec) = &known.pod.spec else { return PodStatus::default() };
    let told = known.pod.status.clone().unwrap_or_default();
    let has_inits = !spec::inits(spec).is_empty();
    let inits: Vec<ContainerStatus> =
        spec::inits(spec).iter().map(|c| container(known, c, spec::role_of_init(c), has_inits, &told)).collect();
    let initialized = inits_done(spec, &inits);
    let mut mains: Vec<ContainerStatus> =
        spec.containers.iter().map(|c| container(known, c, Role::Main, has_inits && !initialized, &told)).collect();
    let ephemerals: Vec<ContainerStatus> =
        spec::ephemerals(spec).iter().map(|c| container(known, &spec::as_container(c), Role::Ephemeral, false, &told)).collect();
    let phase = match told.phase.as_deref() {
        Some(phase @ ("Succeeded" | "Failed")) => phase,
        _ => phase(known, spec, &inits, &mains, initialized),
    }
    .to_string();
    mains.sort_by(|a, b| a.name.cmp(&b.name));
    let mut status = PodStatus {
        phase: Some(phase.clone()),
        qos_class: told.qos_class.clone().filter(|q| !q.is_empty()).or_else(|| Some(Qos::of(known.pod).as_str().into())),
        start_time: told.start_time.clone().or(Some(Time(whole(known.start_time)))),
        host_ip: known.host_ips.first().map(ToString::to_string),
        host_ips: some(known.host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: known.ips.first().cloned(),
        pod_ips: some(known.ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        observed_generation: known.pod.metadata.generation,
        ..PodStatus::default()
    };
    if let Some((reason, message)) = known.cause {
        status.reason = Some(reason.clone());
        status.message = Some(message.clone());
    } else if matches!(told.phase.as_deref(), Some("Succeeded" | "Failed")) {
        (status.reason, status.message) = (told.reason.clone(), told.message.clone());
    }
    status.conditions = Some(conditions::conditions(known, spec, &told, &phase, initialized, &inits, &mains));
    status.init_container_statuses = some(inits);
    status.container_statuses = some(mains);
    status.ephemeral_container_statuses = some(ephemerals);
    status
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The API's times have whole seconds.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn container(known: &Known<'_>, container: &Container, role: Role, initializing: bool, told: &PodStatus) -> ContainerStatus {
    let name = &container.name;
    let previous = [&told.container_statuses, &told.init_container_statuses, &told.ephemeral_container_statuses];
    let previous = previous.into_iter().flatten().flatten().find(|s| s.name == *name);
    let mut runs = known.observed.containers.iter().filter(|s| s.name == *name);
    let newest = runs.next();
    let mut status = ContainerStatus {
        name: name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        ..ContainerStatus::default()
    };
    let Some(seen) = newest.filter(|s| s.state != Run::Created || known.waiting.contains_key(name)) else {
        return unseen(known, status, previous, initializing && role != Role::Ephemeral);
    };
    let id = format!("{}://{}", known.runtime, seen.id);
    status.restart_count = i32::try_from(seen.attempt).unwrap_or(i32::MAX);
    status.image = if seen.image.is_empty() { status.image } else { seen.image.clone() };
    status.image_id = seen.image_ref.clone();
    status.container_id = Some(id.clone());
    let before =
        runs.find(|s| s.state == Run::Exited).map(|s| ContainerState { terminated: Some(terminated(known, s)), ..Default::default() });
    // What was told of the run before stays true though its traces have been removed.
    let before = before.or_else(|| {
        let previous = previous?;
        if previous.container_id.as_deref() == Some(&id) {
            previous.last_state.clone()
        } else {
            previous.state.clone().filter(|s| s.terminated.is_some())
        }
    });
    status.last_state = before.filter(|s| s.terminated.is_some());
    match seen.state {
        Run::Running => {
            status.state = Some(ContainerState {
                running: Some(ContainerStateRunning { started_at: seconds(seen.started_at).map(Time) }),
                ..Default::default()
            });
            let health = known.health.get(&seen.id).copied().unwrap_or_default();
            status.started = Some(health.started);
            status.ready = match role {
                Role::Init | Role::Ephemeral => false,
                Role::Main | Role::Sidecar => health.started && health.ready,
            };
        }
        Run::Exited => {
            let ended = ContainerState { terminated: Some(terminated(known, seen)), ..Default::default() };
            match known.waiting.get(name).filter(|_| !known.finished && !known.ended) {
                Some(waiting) => {
                    status.last_state = Some(ended);
                    status.state = Some(state_waiting(waiting));
                }
                None => {
                    status.ready = role == Role::Init && seen.exit_code == 0;
                    status.state = Some(ended);
                }
            }
        }
        Run::Created | Run::Unknown => {
            let default = Waiting { reason: "ContainerCreating".into(), message: String::new() };
            status.state = Some(state_waiting(known.waiting.get(name).unwrap_or(&default)));
        }
    }
    if seen.state == Run::Running {
        let has = known.resize.has.get(&seen.id).cloned().or_else(|| container.resources.clone());
        status.resources = has.map(|has| ResourceRequirements { claims: None, ..has });
        status.allocated_resources = container.resources.as_ref().and_then(|r| r.requests.clone());
    }
    status.volume_mounts = some(volume_mounts(container));
    status
}

fn unseen(known: &Known<'_>, mut status: ContainerStatus, previous: Option<&ContainerStatus>, initializing: bool) -> ContainerStatus {
    if known.ended || known.finished {
        // Whatever it was, it is no more; what was told of its end stands.
        if let Some(previous) = previous.filter(|p| p.state.as_ref().is_some_and(|s| s.terminated.is_some())) {
            return ContainerStatus {
                ready: previous.ready && previous.state.as_ref().is_some_and(|s| s.running.is_none()),
                ..previous.clone()
            };
        }
        if let Some(previous) = previous.filter(|p| p.container_id.is_some()) {
            let lost = ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".into()),
                message: Some("The container could not be located when the pod was terminated".into()),
                ..Default::default()
            };
            let state = Some(ContainerState { terminated: Some(lost), ..Default::default() });
            return ContainerStatus { state, ready: false, started: Some(false), ..previous.clone() };
        }
    }
    let default = if initializing { "PodInitializing" } else { "ContainerCreating" };
    let default = Waiting { reason: default.into(), message: String::new() };
    status.state = Some(state_waiting(known.waiting.get(&status.name).unwrap_or(&default)));
    if let Some(previous) = previous {
        status.restart_count = previous.restart_count;
        status.last_state = previous.state.clone().filter(|s| s.terminated.is_some()).or_else(|| previous.last_state.clone());
        if previous.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
            status.container_id = previous.container_id.clone();
            status.image_id = previous.image_id.clone();
        }
    }
    status
}

fn volume_mounts(container: &Container) -> Vec<VolumeMountStatus> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts
        .map(|m| VolumeMountStatus {
            name: m.name.clone(),
            mount_path: m.mount_path.clone(),
            read_only: m.read_only.filter(|r| *r),
            recursive_read_only: (m.read_only == Some(true)).then(|| "Disabled".into()),
            ..Default::default()
        })
        .collect()
}

fn state_waiting(waiting: &Waiting) -> ContainerState {
    let message = (!waiting.message.is_empty()).then(|| waiting.message.clone());
    ContainerState { waiting: Some(ContainerStateWaiting { reason: Some(waiting.reason.clone()), message }), ..Default::default() }
}

fn terminated(known: &Known<'_>, seen: &Seen) -> ContainerStateTerminated {
    let reason = match seen.reason.as_str() {
        "" if seen.exit_code == 0 => "Completed",
        "" => "Error",
        other => other,
    };
    ContainerStateTerminated {
        container_id: Some(format!("{}://{}", known.runtime, seen.id)),
        exit_code: seen.exit_code,
        reason: Some(reason.into()),
        message: (!seen.message.is_empty()).then(|| seen.message.clone()),
        started_at: seconds(seen.started_at).map(Time),
        finished_at: seconds(seen.finished_at).map(Time),
        signal: None,
    }
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    status.state.as_ref()?.terminated.as_ref().map(|t| t.exit_code)
}

fn last_exit(status: &ContainerStatus) -> Option<i32> {
    status.last_state.as_ref()?.terminated.as_ref().map(|t| t.exit_code)
}

fn running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

/// Whether the main containers may run: init containers have succeeded, sidecars have started.
fn inits_done(spec: &PodSpec, inits: &[ContainerStatus]) -> bool {
    unready_inits(spec, inits).is_empty()
}

fn unready_inits<'a>(spec: &PodSpec, inits: &'a [ContainerStatus]) -> Vec<&'a str> {
    let pairs = spec::inits(spec).iter().zip(inits);
    let waiting = pairs.filter(|(c, s)| match spec::role_of_init(c) {
        Role::Sidecar => s.started != Some(true) && exit_code(s).is_none(),
        _ => exit_code(s) != Some(0),
    });
    waiting.map(|(_, s)| s.name.as_str()).collect()
}

fn phase(known: &Known<'_>, spec: &PodSpec, inits: &[ContainerStatus], mains: &[ContainerStatus], initialized: bool) -> &'static str {
    let never = spec.restart_policy.as_deref() == Some("Never");
    // A pod is over only when nothing of it runs, sidecars included.
    if known.finished && !known.ended && known.observed.running().next().is_some() {
        return if mains.iter().any(|s| running(s) || exit_code(s).is_some()) { "Running" } else { "Pending" };
    }
    if known.cause.is_some() && (known.ended || known.finished) {
        return "Failed";
    }
    let stopped = mains.iter().filter(|s| exit_code(s).is_some() || (!running(s) && last_exit(s).is_some())).count();
    let succeeded = mains.iter().filter(|s| exit_code(s) == Some(0)).count();
    let alive = mains.iter().filter(|s| running(s)).count();
    if known.ended || known.finished {
        return if succeeded == mains.len() { "Succeeded" } else { "Failed" };
    }
    let failed_init = spec::inits(spec).iter().zip(inits).any(|(c, s)| {
        spec::role_of_init(c) == Role::Init && exit_code(s).is_some_and(|code| code != 0 && !spec::restarts(spec, c, Role::Init, code))
    });
    if failed_init {
        return "Failed";
    }
    let begun = alive > 0 || stopped > 0;
    if !initialized && !begun {
        return "Pending";
    }
    let waiting = mains.len() - alive - stopped;
    if waiting > 0 {
        return "Pending";
    }
    if alive > 0 {
        return "Running";
    }
    if stopped == 0 {
        return "Pending";
    }
    match spec.restart_policy.as_deref().unwrap_or("Always") {
        "Always" => "Running",
        _ if succeeded == mains.len() => "Succeeded",
        _ if never && mains.iter().all(|s| exit_code(s).is_some()) => "Failed",
        _ => "Running",
    }
}

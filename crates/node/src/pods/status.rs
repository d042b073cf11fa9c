//! The status of a pod, from what is known of it. Pure; phases and conditions are those of upstream's
//! `kubelet_pods.go` and `status/generate.go`.

use super::plan::Waiting;
use super::resources::Qos;
use super::spec::{self, Role};
use super::state::{Observed, Run, Seen, seconds};
use crate::probes::Health;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP, Pod,
    PodCondition, PodIP, PodSpec, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

pub struct Known<'a> {
    pub pod: &'a Pod,
    pub observed: &'a Observed,
    pub health: &'a HashMap<String, Health>,
    pub waiting: &'a BTreeMap<String, Waiting>,
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
    status.conditions = Some(conditions(known, spec, &told, &phase, initialized, &inits, &mains));
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
        status.resources = container.resources.clone().map(|mut r| {
            r.claims = None;
            r
        });
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

type Answer = (bool, Option<String>, Option<String>);

fn yes() -> Answer {
    (true, None, None)
}

fn no(reason: &str, message: String) -> Answer {
    (false, Some(reason.into()), (!message.is_empty()).then_some(message))
}

fn conditions(
    known: &Known<'_>,
    spec: &PodSpec,
    told: &PodStatus,
    phase: &str,
    initialized: bool,
    inits: &[ContainerStatus],
    mains: &[ContainerStatus],
) -> Vec<PodCondition> {
    let terminal = matches!(phase, "Succeeded" | "Failed");
    let sandbox = known.observed.sandbox().is_some_and(|s| s.ready && (!s.ips.is_empty() || spec::host_network(known.pod)));
    let begun = mains.iter().any(|s| running(s) || last_exit(s).is_some() || exit_code(s).is_some());
    let init = if phase == "Succeeded" {
        (true, Some("PodCompleted".into()), None)
    } else if initialized || begun {
        yes()
    } else {
        no("ContainersNotInitialized", format!("containers with incomplete status: [{}]", unready_inits(spec, inits).join(" ")))
    };
    let sidecars = spec::inits(spec).iter().zip(inits).filter(|(c, _)| spec::role_of_init(c) == Role::Sidecar).map(|(_, s)| s);
    let unready: Vec<&str> = sidecars.chain(mains).filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    let containers = if phase == "Succeeded" {
        no("PodCompleted", String::new())
    } else if phase == "Failed" {
        no("PodFailed", String::new())
    } else if !unready.is_empty() {
        no("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
    } else {
        yes()
    };
    let gates = gates(spec, told);
    let ready = match (&containers, gates.is_empty()) {
        ((false, ..), _) => containers.clone(),
        (_, false) => no("ReadinessGatesNotReady", gates.join(", ")),
        _ => yes(),
    };
    let answers = [
        ("PodReadyToStartContainers", (sandbox && !terminal, None, None)),
        ("Initialized", init),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", yes()),
    ];
    let now = Time(whole(known.now));
    answers
        .into_iter()
        .map(|(kind, (good, reason, message))| {
            let status = if good { "True" } else { "False" };
            let before = told.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == status);
            PodCondition {
                type_: kind.into(),
                status: status.into(),
                reason,
                message,
                last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(now.clone())),
                observed_generation: known.pod.metadata.generation,
                ..Default::default()
            }
        })
        .collect()
}

fn gates(spec: &PodSpec, told: &PodStatus) -> Vec<String> {
    let mut missing = Vec::new();
    for gate in spec.readiness_gates.iter().flatten() {
        match told.conditions.iter().flatten().find(|c| c.type_ == gate.condition_type) {
            None => missing.push(format!("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type)),
            Some(c) if c.status != "True" => {
                missing.push(format!("the status of pod readiness gate \"{}\" is not \"True\", but {}", gate.condition_type, c.status));
            }
            Some(_) => {}
        }
    }
    missing
}

/// The strategic merge patch from what the API has to what is so, or nothing.
pub fn patch(pod: &Pod, new: &PodStatus) -> Option<serde_json::Value> {
    use serde_json::{Map, Value, json};
    // Without a status of its own a pod is as new.
    let old = pod.status.as_ref().and_then(|s| serde_json::to_value(s).ok()).unwrap_or_default();
    let new = serde_json::to_value(new).ok()?;
    let (old, new) = (old.as_object().cloned().unwrap_or_default(), new.as_object()?);
    let mut changes = Map::new();
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        match key.as_str() {
            "conditions" => {
                let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
                let changed: Vec<Value> =
                    value.as_array().into_iter().flatten().filter(|c| !before.contains(c)).map(|c| whole_condition(c, &before)).collect();
                if !changed.is_empty() {
                    changes.insert(key.clone(), Value::Array(changed));
                }
            }
            // Merged by address: the old ones are taken out by name.
            "podIPs" | "hostIPs" => {
                let gone = before.and_then(Value::as_array).into_iter().flatten();
                let gone = gone.filter(|ip| !value.as_array().is_some_and(|v| v.contains(ip)));
                let mut list: Vec<Value> = gone.map(|ip| json!({"$patch": "delete", "ip": ip["ip"]})).collect();
                list.extend(value.as_array().into_iter().flatten().cloned());
                changes.insert(key.clone(), Value::Array(list));
            }
            _ => drop(changes.insert(key.clone(), value.clone())),
        }
    }
    for key in ["reason", "message"] {
        if old.contains_key(key) && !new.contains_key(key) {
            changes.insert(key.into(), Value::Null);
        }
    }
    if changes.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"uid": pod.metadata.uid}, "status": changes}))
}

/// What a condition no longer says is taken out.
fn whole_condition(condition: &serde_json::Value, before: &[serde_json::Value]) -> serde_json::Value {
    let mut condition = condition.clone();
    let old = before.iter().find(|c| c["type"] == condition["type"]);
    for key in ["reason", "message"] {
        if old.is_some_and(|o| o.get(key).is_some()) && condition.get(key).is_none() {
            condition[key] = serde_json::Value::Null;
        }
    }
    condition
}

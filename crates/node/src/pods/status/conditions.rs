//! The conditions of a pod.

use super::{Known, exit_code, last_exit, running, unready_inits, whole};
use crate::pods::spec::{self, Role};
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

type Answer = (bool, Option<String>, Option<String>);

fn yes() -> Answer {
    (true, None, None)
}

fn no(reason: &str, message: String) -> Answer {
    (false, Some(reason.into()), (!message.is_empty()).then_some(message))
}

pub fn conditions(
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
    let error = known.resize.error.clone();
    let pending = known.resize.pending.clone().map(|w| ("PodResizePending", (true, Some(w.reason), Some(w.message))));
    let under_way = known.resize.under_way.then(|| ("PodResizeInProgress", (true, error.as_ref().map(|_| "Error".to_string()), error)));
    answers
        .into_iter()
        .chain([pending, under_way].into_iter().flatten().filter(|_| !terminal))
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

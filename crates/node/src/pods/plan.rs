//! What to do next with a pod, from what its object asks for, what the runtime holds, what the
//! probes say and the time. Pure; the rules are those of upstream's `computePodActions`
//! (`pkg/kubelet/kuberuntime/kuberuntime_manager.go`).

use super::backoff::{Backoff, printed};
use super::resize::{self, Change};
use super::spec::{self, Role};
use super::state::{Observed, Run, Seen, exact};
use crate::probes::Health;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use std::collections::{BTreeMap, HashMap, HashSet};

pub struct View<'a> {
    pub pod: &'a Pod,
    pub observed: &'a Observed,
    /// By container id; a container that nothing is known of has passed nothing yet.
    pub health: &'a HashMap<String, Health>,
    pub backoff: &'a Backoff,
    /// Containers that could not be created, and until when they are left alone.
    pub blocked: &'a HashMap<String, Blocked>,
    /// Ids of containers that were killed to be started anew, whatever their exit code.
    pub to_restart: &'a HashSet<String>,
    /// What running containers have, by id.
    pub has: &'a HashMap<String, ResourceRequirements>,
    /// Not before is a resize tried again.
    pub resize_at: Option<Timestamp>,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub reason: String,
    pub message: String,
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub name: String,
    pub attempt: u32,
    /// When the one before ended, for the back-off.
    pub after: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub id: String,
    pub name: String,
    pub message: String,
    /// Instead of the pod's own.
    pub grace: Option<i64>,
    pub restart: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// A new sandbox with this attempt; nothing else happens before.
    pub sandbox: Option<u32>,
    /// In this order, one after another.
    pub start: Vec<Start>,
    pub kill: Vec<Kill>,
    /// Ids of running containers that are to have other resources.
    pub resize: Vec<String>,
    /// Why containers are not running though they should.
    pub waiting: BTreeMap<String, Waiting>,
    /// Everything that was to run has ended for good.
    pub finished: bool,
    /// When the plan is to be made again though nothing happens.
    pub wake: Option<Timestamp>,
}

impl Plan {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }
}

pub fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = view.pod.spec.as_ref() else { return plan };
    if needs_sandbox(view) {
        new_sandbox(view, spec, &mut plan);
        return plan;
    }
    for container in spec::ephemerals(spec) {
        // Never restarted, whatever becomes of it.
        if view.observed.latest(&container.name).is_none() {
            start(view, spec, &spec::as_container(container), Role::Ephemeral, &mut plan);
        }
    }
    let began = spec.containers.iter().any(|c| view.observed.current(&c.name).is_some_and(|s| s.state != Run::Created));
    if !inits(view, spec, began, &mut plan) {
        return plan;
    }
    let mut kept = 0;
    for container in &spec.containers {
        kept += usize::from(main(view, spec, container, &mut plan));
    }
    if kept == 0 {
        plan.finished = true;
        // Sidecars are not started again for nobody.
        plan.start.clear();
        plan.resize.clear();
        plan.waiting.clear();
        plan.wake = None;
    }
    plan
}

fn needs_sandbox(view: &View<'_>) -> bool {
    match view.observed.sandbox() {
        None => true,
        Some(sandbox) => !sandbox.ready || (sandbox.ips.is_empty() && !spec::host_network(view.pod)),
    }
}

fn new_sandbox(view: &View<'_>, spec: &PodSpec, plan: &mut Plan) {
    let attempt = view.observed.sandboxes.iter().map(|s| s.attempt + 1).max().unwrap_or(0);
    for seen in view.observed.running() {
        plan.kill.push(Kill {
            id: seen.id.clone(),
            name: seen.name.clone(),
            message: "Pod sandbox changed, it will be killed and re-created.".into(),
            grace: None,
            restart: true,
        });
    }
    let any_begun = !view.observed.containers.is_empty();
    let failed_init = spec::inits(spec).iter().any(|c| {
        let seen = view.observed.latest(&c.name);
        spec::role_of_init(c) == Role::Init
            && seen.is_some_and(|s| s.state == Run::Exited && s.exit_code != 0 && !again(view, spec, c, Role::Init, s))
    });
    let wanted = spec.containers.iter().any(|c| match view.observed.latest(&c.name) {
        None => true,
        Some(seen) => seen.state != Run::Exited || again(view, spec, c, Role::Main, seen),
    });
    let never = spec.restart_policy.as_deref() == Some("Never");
    if !wanted || failed_init || (never && any_begun) {
        plan.finished = true;
        return;
    }
    plan.sandbox = Some(attempt);
}

fn again(view: &View<'_>, spec: &PodSpec, container: &Container, role: Role, seen: &Seen) -> bool {
    view.to_restart.contains(&seen.id) || spec::restarts(spec, container, role, seen.exit_code)
}

/// Init containers run one after another, sidecars among them are only waited for until they have
/// started. Returns whether the main containers may run.
fn inits(view: &View<'_>, spec: &PodSpec, began: bool, plan: &mut Plan) -> bool {
    for container in spec::inits(spec) {
        let role = spec::role_of_init(container);
        let seen = view.observed.current(&container.name);
        if role == Role::Sidecar {
            match seen {
                Some(seen) if seen.state == Run::Running => {
                    let healthy = check_running(view, container, seen, true, plan);
                    let started = healthy && view.health.get(&seen.id).is_some_and(|h| h.started);
                    if !began && !started {
                        return false;
                    }
                }
                _ => {
                    restart(view, spec, container, role, seen, plan);
                    if !began {
                        return false;
                    }
                }
            }
            continue;
        }
        // Once a main container has begun, all of them are done; their traces may be gone.
        if began {
            continue;
        }
        match seen {
            Some(seen) if seen.state == Run::Running => return false,
            Some(seen) if seen.state == Run::Exited && seen.exit_code == 0 => {}
            Some(seen) if seen.state == Run::Exited && !again(view, spec, container, role, seen) => {
                plan.finished = true;
                return false;
            }
            _ => {
                restart(view, spec, container, role, seen, plan);
                return false;
            }
        }
    }
    true
}

/// Returns whether the container is running or will.
fn main(view: &View<'_>, spec: &PodSpec, container: &Container, plan: &mut Plan) -> bool {
    // A container of an earlier sandbox counts as its last run: it is restarted by its policy.
    let seen = view.observed.latest(&container.name);
    match seen {
        Some(seen) if seen.state == Run::Running => {
            let restartable = spec::restarts(spec, container, Role::Main, 1);
            check_running(view, container, seen, restartable, plan);
            true
        }
        Some(seen) if seen.state == Run::Exited && !again(view, spec, container, Role::Main, seen) => false,
        _ => {
            restart(view, spec, container, Role::Main, seen, plan);
            true
        }
    }
}

/// Plans to kill a running container that is not as it should be.
fn check_running(view: &View<'_>, container: &Container, seen: &Seen, restartable: bool, plan: &mut Plan) -> bool {
    let health = view.health.get(&seen.id);
    let (message, probe) = if health.is_some_and(|h| h.startup_failed) {
        (format!("Container {} failed startup probe", seen.name), container.startup_probe.as_ref())
    } else if health.is_some_and(|h| h.liveness_failed) {
        (format!("Container {} failed liveness probe", seen.name), container.liveness_probe.as_ref())
    } else if !seen.hash.is_empty() && seen.hash != spec::hash(container) {
        (format!("Container {} definition changed", seen.name), None)
    } else {
        return resized(view, container, seen, plan);
    };
    plan.kill.push(Kill {
        id: seen.id.clone(),
        name: seen.name.clone(),
        message: if restartable { format!("{message}, will be restarted") } else { message },
        grace: probe.and_then(|p| p.termination_grace_period_seconds),
        restart: restartable,
    });
    false
}

/// Returns whether the container goes on running.
fn resized(view: &View<'_>, container: &Container, seen: &Seen, plan: &mut Plan) -> bool {
    match view.has.get(&seen.id).map_or(Change::None, |has| resize::change(container, has)) {
        Change::None => true,
        Change::Update => {
            match view.resize_at.filter(|at| *at > view.now) {
                Some(at) => plan.wake_at(at),
                None => plan.resize.push(seen.id.clone()),
            }
            true
        }
        Change::Restart => {
            let message = format!("Container {} resize requires restart", seen.name);
            plan.kill.push(Kill { id: seen.id.clone(), name: seen.name.clone(), message, grace: None, restart: true });
            false
        }
    }
}

fn restart(view: &View<'_>, spec: &PodSpec, container: &Container, role: Role, seen: Option<&Seen>, plan: &mut Plan) {
    // What the runtime lost track of must be ended before its successor begins.
    if let Some(seen) = seen.filter(|s| s.state == Run::Unknown) {
        plan.kill.push(Kill {
            id: seen.id.clone(),
            name: seen.name.clone(),
            message: format!("Container {} is in an unknown state, will be restarted", seen.name),
            grace: None,
            restart: true,
        });
        return;
    }
    start(view, spec, container, role, plan);
}

fn start(view: &View<'_>, _spec: &PodSpec, container: &Container, _role: Role, plan: &mut Plan) {
    let name = &container.name;
    if let Some(blocked) = view.blocked.get(name) {
        plan.waiting.insert(name.clone(), Waiting { reason: blocked.reason.clone(), message: blocked.message.clone() });
        if blocked.until > view.now {
            plan.wake_at(blocked.until);
            return;
        }
    }
    let last = view.observed.latest(name);
    let ended = last.filter(|s| s.state == Run::Exited).map(|s| exact(s.finished_at));
    if let Some((until, delay)) = ended.and_then(|at| view.backoff.until(name, at, view.now)) {
        let meta = &view.pod.metadata;
        let message = format!(
            "back-off {} restarting failed container={name} pod={}_{}({})",
            printed(delay),
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default(),
        );
        plan.waiting.insert(name.clone(), Waiting { reason: "CrashLoopBackOff".into(), message });
        plan.wake_at(until);
        return;
    }
    let attempt = last.map_or_else(|| told_restarts(view.pod, name), |s| s.attempt + 1);
    plan.start.push(Start { name: name.clone(), attempt, after: ended });
}

/// The runtime may have forgotten all containers of a pod that has run before; the restart count
/// must not go back.
fn told_restarts(pod: &Pod, name: &str) -> u32 {
    let status = pod.status.as_ref();
    let lists = status.map(|s| [&s.container_statuses, &s.init_container_statuses]);
    let told = lists.into_iter().flatten().flat_map(|l| l.iter().flatten()).find(|s| s.name == name);
    told.filter(|s| s.container_id.as_deref().is_some_and(|id| !id.is_empty()))
        .map_or(0, |s| u32::try_from(s.restart_count).unwrap_or(0) + 1)
}

/// Which containers of a pod that is to end may be ended now: the main ones at once, sidecars one
/// after another in reverse order once those are gone.
pub fn next_to_kill<'a>(spec: &PodSpec, observed: &'a Observed) -> Vec<&'a Seen> {
    let sidecars: Vec<&str> = spec::sidecars(spec).map(|c| c.name.as_str()).collect();
    let alive: Vec<&Seen> = observed.containers.iter().filter(|c| matches!(c.state, Run::Running | Run::Unknown)).collect();
    let others: Vec<&Seen> = alive.iter().copied().filter(|c| !sidecars.contains(&c.name.as_str())).collect();
    if !others.is_empty() {
        return others;
    }
    for name in sidecars.iter().rev() {
        let of_name: Vec<&Seen> = alive.iter().copied().filter(|c| c.name == **name).collect();
        if !of_name.is_empty() {
            return of_name;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;

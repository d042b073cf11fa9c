//! One pod, from the moment it is bound to this node until nothing is left of it. The worker itself
//! never waits for anything slow: what takes time runs beside it (`actions`), and every change wakes
//! it to look and decide again.

use super::backoff::Backoff;
use super::core::Core;
use super::lookup::ContainerRef;
use super::plan::{Blocked, Plan, View, Waiting, plan};
use super::state::{Observed, Run, Sandbox, Seen};
use super::{observe, spec, status};
use crate::cri::RuntimeError;
use crate::probes::{self, Health, Listener, Probing};
use crate::volumes::Mounts;
use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between attempts at what only the runtime or the API server can mend.
pub const RETRY: Duration = Duration::from_millis(500);
/// How often a container that is said to have ended is looked at until the runtime agrees.
const LOOKS: u32 = 9;

pub struct Worker {
    pub core: Arc<Core>,
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub state: Mutex<State>,
    wake: Notify,
    report: Notify,
    publishing: tokio::sync::Mutex<()>,
}

pub struct State {
    pub pod: Arc<Pod>,
    /// No longer in the API.
    gone: bool,
    pub observed: Observed,
    /// Counts every change of `observed`.
    changes: u64,
    pub relist: bool,
    /// Ids to look at, when, and how often it was done.
    looks: HashMap<String, (Instant, u32)>,
    pub health: HashMap<String, Health>,
    probes: HashMap<String, JoinHandle<()>>,
    pub backoff: Backoff,
    pub blocked: HashMap<String, Blocked>,
    pub to_restart: HashSet<String>,
    waiting: BTreeMap<String, Waiting>,
    /// Containers whose waiting has been told in an event, with the id of the run before.
    told: HashMap<String, String>,
    /// Nothing is begun for the whole pod before.
    pub held: Option<Timestamp>,
    pub failures: u32,
    pub mounts: Option<Arc<Mounts>>,
    pub ips: Vec<String>,
    refresh: bool,
    pub refresh_at: Option<Instant>,
    /// Nothing is to run any more.
    finished: bool,
    /// Nothing does, and what was mounted is gone.
    ended: bool,
    cause: Option<(String, String)>,
    pub kill_until: Option<Timestamp>,
    hurry: bool,
    start_time: Timestamp,
}

enum Decision {
    Rest(Option<Timestamp>),
    Act(Box<Plan>),
    End,
    Delete,
    Remove,
}

#[derive(PartialEq)]
enum Kind {
    Act,
    End,
}

struct Running {
    kind: Kind,
    task: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Worker {
    pub fn new(core: Arc<Core>, pod: Arc<Pod>, relist: bool) -> Arc<Self> {
        let told = pod.status.as_ref();
        let ended = told.and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed");
        let ips = told.and_then(|s| s.pod_ips.as_ref()).into_iter().flatten().map(|ip| ip.ip.clone()).collect();
        let state = State {
            gone: false,
            observed: Observed::default(),
            changes: 0,
            relist,
            looks: HashMap::new(),
            health: HashMap::new(),
            probes: HashMap::new(),
            backoff: Backoff::default(),
            blocked: HashMap::new(),
            to_restart: HashSet::new(),
            waiting: BTreeMap::new(),
            told: HashMap::new(),
            held: None,
            failures: 0,
            mounts: None,
            ips,
            refresh: relist && !ended,
            refresh_at: None,
            finished: ended,
            ended: false,
            cause: None,
            kill_until: None,
            hurry: false,
            start_time: told.and_then(|s| s.start_time.as_ref()).map_or_else(Timestamp::now, |t| t.0),
            pod: pod.clone(),
        };
        Arc::new(Self {
            uid: pod.uid().unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            core,
            state: Mutex::new(state),
            wake: Notify::new(),
            report: Notify::new(),
            publishing: tokio::sync::Mutex::new(()),
        })
    }

    pub fn pod(&self) -> Arc<Pod> {
        self.state.lock().pod.clone()
    }

    /// A newer object from the API.
    pub fn update(&self, pod: Arc<Pod>) {
        let mut state = self.state.lock();
        if !newer(&pod, &state.pod) {
            return;
        }
        if pod.labels() != state.pod.labels() || pod.annotations() != state.pod.annotations() {
            state.refresh = true;
        }
        let deleting = pod.metadata.deletion_timestamp.is_some();
        let grace = pod.metadata.deletion_grace_period_seconds;
        state.pod = pod;
        if deleting {
            state.end_within(grace);
        }
        drop(state);
        // Also what others say in its status counts, as readiness gates do.
        self.changed();
    }

    /// The object is gone from the API.
    pub fn gone(&self, last: &Pod) {
        let mut state = self.state.lock();
        state.gone = true;
        state.end_within(Some(last.metadata.deletion_grace_period_seconds.unwrap_or(0)));
        drop(state);
        self.wake();
    }

    pub fn look(&self, id: &str) {
        self.state.lock().looks.insert(id.to_string(), (Instant::now(), 0));
        self.wake();
    }

    pub fn relist(&self) {
        self.state.lock().relist = true;
        self.wake();
    }

    pub fn refresh(&self) {
        self.state.lock().refresh = true;
        self.wake();
    }

    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Something that the status tells has changed.
    pub fn changed(&self) {
        self.wake.notify_one();
        self.report.notify_one();
    }

    pub fn sandbox(&self) -> Option<String> {
        self.state.lock().observed.sandbox().filter(|s| s.ready).map(|s| s.id.clone())
    }

    pub fn container(&self, name: &str, previous: bool) -> Option<ContainerRef> {
        let state = self.state.lock();
        let mut runs = state.observed.containers.iter().filter(|c| c.name == name && c.state != Run::Created);
        let seen = if previous { runs.nth(1) } else { runs.next() }?;
        Some(ContainerRef {
            id: seen.id.clone(),
            name: seen.name.clone(),
            attempt: seen.attempt,
            running: seen.state == Run::Running,
            log_path: PathBuf::from(&seen.log_path),
        })
    }

    /// The running containers, with their log files.
    pub fn logs(&self) -> Vec<(String, PathBuf)> {
        self.state.lock().observed.running().map(|c| (c.id.clone(), PathBuf::from(&c.log_path))).collect()
    }

    pub fn runs(&self, id: &str) -> bool {
        self.state.lock().observed.running().any(|c| c.id == id)
    }

    /// Ids of the images that containers of the pod were made of.
    pub fn images(&self) -> Vec<String> {
        let state = self.state.lock();
        let used = state.observed.containers.iter().flat_map(|c| [c.image.clone(), c.image_ref.clone()]);
        let wanted = state.pod.spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
        used.chain(wanted.filter_map(|c| c.image.clone())).collect()
    }

    pub fn put(&self, seen: Seen) {
        let mut state = self.state.lock();
        state.changes += 1;
        state.observed.put(seen);
        drop(state);
        self.changed();
    }

    pub fn put_sandbox(&self, sandbox: Sandbox) {
        let mut state = self.state.lock();
        state.changes += 1;
        if !sandbox.ips.is_empty() {
            state.ips = sandbox.ips.clone();
        }
        state.observed.put_sandbox(sandbox);
        drop(state);
        self.changed();
    }

    pub fn forget(&self, id: &str) {
        let mut state = self.state.lock();
        state.changes += 1;
        state.observed.containers.retain(|c| c.id != id);
        state.observed.sandboxes.retain(|s| s.id != id);
        state.health.remove(id);
        state.to_restart.remove(id);
        if let Some(task) = state.probes.remove(id) {
            task.abort();
        }
        drop(state);
        self.core.index.lock().remove(id);
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let reporter = tokio::spawn(self.clone().report_changes());
        let mut running: Option<Running> = None;
        let mut refreshing: Option<JoinHandle<Option<Duration>>> = None;
        self.changed();
        loop {
            let look_again = self.observe(running.is_some()).await;
            let mut wake = look_again;
            let decision = self.decide(Timestamp::now(), running.is_some());
            let hurry = std::mem::take(&mut self.state.lock().hurry);
            match decision {
                Decision::Rest(at) => wake = earliest(wake, at.map(instant)),
                Decision::Act(plan) if running.is_none() => {
                    let cancel = CancellationToken::new();
                    let task = tokio::spawn(self.clone().carry_out(*plan, cancel.clone()));
                    running = Some(Running { kind: Kind::Act, task, cancel });
                }
                Decision::Act(_) => {}
                Decision::End => {
                    match &running {
                        // Ends between two steps; a call to the runtime is never torn apart.
                        Some(r) if r.kind == Kind::Act => r.cancel.cancel(),
                        Some(r) if hurry => {
                            r.task.abort();
                            running = None;
                        }
                        _ => {}
                    }
                    if running.is_none() {
                        let task = tokio::spawn(self.clone().end());
                        running = Some(Running { kind: Kind::End, task, cancel: CancellationToken::new() });
                    }
                }
                Decision::Delete => {
                    if !self.delete().await {
                        wake = earliest(wake, Some(Instant::now() + RETRY * 2));
                    }
                }
                Decision::Remove => {
                    self.clone().remove_all().await;
                    break;
                }
            }
            {
                let mut state = self.state.lock();
                let due = state.refresh || state.refresh_at.is_some_and(|at| at <= Instant::now());
                if due && refreshing.is_none() && !state.finished && !state.ended && state.observed.sandbox().is_some() {
                    (state.refresh, state.refresh_at) = (false, None);
                    refreshing = Some(tokio::spawn(self.clone().write_volumes()));
                }
                if refreshing.is_none() {
                    wake = earliest(wake, state.refresh_at);
                }
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(wake) => {}
                () = async { match running.as_mut() { Some(r) => drop((&mut r.task).await), None => std::future::pending().await } } => running = None,
                again = async { match refreshing.as_mut() { Some(r) => r.await, None => std::future::pending().await } } => {
                    refreshing = None;
                    self.state.lock().refresh_at = again.ok().flatten().map(|after| Instant::now() + after);
                }
                () = stop.cancelled() => break,
            }
        }
        reporter.abort();
        if let Some(r) = running {
            r.task.abort();
        }
        for (_, probe) in self.state.lock().probes.drain() {
            probe.abort();
        }
        if !stop.is_cancelled() {
            let _ = self.core.finished.send(self.uid.clone());
        }
    }

    /// Looks at what is said to have changed. Says when to look again.
    async fn observe(self: &Arc<Self>, acting: bool) -> Option<Instant> {
        let mut again = None;
        let (relist, changes) = {
            let state = self.state.lock();
            (state.relist, state.changes)
        };
        if relist && !acting {
            match observe::all(&*self.core.runtime, &self.core.config, &self.uid).await {
                Ok(observed) => self.adopt(observed, changes),
                Err(error) => {
                    tracing::debug!(pod = self.name, %error, "the runtime does not tell what it has");
                    return Some(Instant::now() + RETRY);
                }
            }
            if self.state.lock().relist {
                again = Some(Instant::now() + Duration::from_millis(50));
            }
        }
        let now = Instant::now();
        let due: Vec<(String, u32)> = {
            let mut state = self.state.lock();
            let due: Vec<_> = state.looks.iter().filter(|(_, (at, _))| *at <= now).map(|(id, (_, n))| (id.clone(), *n)).collect();
            for (id, _) in &due {
                state.looks.remove(id);
            }
            due
        };
        for (id, count) in due {
            let settled = self.look_at(&id).await;
            if !settled && count < LOOKS {
                // The hint may come before the runtime itself has noticed.
                let at = Instant::now() + Duration::from_millis(5 << count);
                self.state.lock().looks.entry(id).or_insert((at, count + 1));
            }
        }
        let state = self.state.lock();
        state.looks.values().map(|(at, _)| *at).fold(again, |w, at| earliest(w, Some(at)))
    }

    fn adopt(self: &Arc<Self>, observed: Observed, changes: u64) {
        let mut state = self.state.lock();
        if state.changes != changes {
            // What was read may be older than what is known.
            return;
        }
        state.relist = false;
        state.changes += 1;
        let mut index = self.core.index.lock();
        index.extend(observed.sandboxes.iter().map(|s| (s.id.clone(), self.uid.clone())));
        index.extend(observed.containers.iter().map(|c| (c.id.clone(), self.uid.clone())));
        drop(index);
        if let Some(ips) = observed.sandbox().map(|s| s.ips.clone()).filter(|ips| !ips.is_empty()) {
            state.ips = ips;
        }
        state.observed = observed;
        let running: Vec<Seen> = state.observed.running().cloned().collect();
        state.probes.retain(|id, task| {
            let runs = running.iter().any(|s| s.id == *id);
            if !runs {
                task.abort();
            }
            runs
        });
        drop(state);
        for seen in running {
            self.tend(&seen);
        }
        self.report.notify_one();
    }

    /// Returns whether the runtime has settled on an end.
    async fn look_at(self: &Arc<Self>, id: &str) -> bool {
        let sandbox = self.state.lock().observed.sandboxes.iter().find(|s| s.id == id).cloned();
        if let Some(before) = sandbox {
            return match self.core.runtime.sandbox_status(id).await {
                Ok(status) => {
                    let sandbox = Sandbox::of(&status);
                    let ready = sandbox.ready;
                    if sandbox != before {
                        self.put_sandbox(sandbox);
                    }
                    !ready
                }
                Err(RuntimeError::NotFound(_)) => {
                    self.forget(id);
                    true
                }
                Err(_) => false,
            };
        }
        let known = self.state.lock().observed.containers.iter().find(|c| c.id == id).cloned();
        // Ours, but not known yet: it ended while it was being started.
        let Some(known) = known else { return false };
        match observe::container_of(&*self.core.runtime, &self.core.config, id, &known.sandbox).await {
            Ok(Some(seen)) => {
                let ended = seen.state != Run::Running && seen.state != Run::Created;
                if seen != known {
                    self.put(seen);
                }
                if ended {
                    self.stop_probes(id);
                }
                ended
            }
            Ok(None) => {
                self.forget(id);
                true
            }
            Err(_) => false,
        }
    }

    pub fn stop_probes(&self, id: &str) {
        if let Some(task) = self.state.lock().probes.remove(id) {
            task.abort();
        }
    }

    /// Begins to follow a running container with probes.
    pub fn tend(self: &Arc<Self>, seen: &Seen) {
        let mut state = self.state.lock();
        if state.probes.contains_key(&seen.id) {
            return;
        }
        let Some((container, _)) = state.pod.spec.as_ref().and_then(|s| spec::find(s, &seen.name)) else { return };
        let mut initial = Health::initial(&container);
        // After a restart of the agent, what it had told stays true until a probe says otherwise.
        let status = state.pod.status.as_ref();
        let lists = status.into_iter().flat_map(|s| [&s.container_statuses, &s.init_container_statuses]).flatten().flatten();
        let id = format!("{}://{}", self.core.runtime_name(), seen.id);
        if let Some(told) = lists.into_iter().find(|s| s.container_id.as_deref() == Some(&id)) {
            initial.started |= told.started == Some(true);
            initial.ready |= told.ready;
        }
        state.health.insert(seen.id.clone(), initial);
        let ip = self.core.facts(&state.pod, &state.ips).pod_ips.into_iter().next().unwrap_or_default();
        let probing = Probing { runtime: self.core.runtime.clone(), pod_ip: ip, container, id: seen.id.clone() };
        let started_at = super::state::exact(seen.started_at);
        let task = tokio::spawn(probes::follow(probing, self.clone(), initial, started_at));
        state.probes.insert(seen.id.clone(), task);
    }

    fn decide(&self, now: Timestamp, acting: bool) -> Decision {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let deleting = state.pod.metadata.deletion_timestamp.is_some() || state.gone;
        if state.ended {
            return match (state.gone, deleting) {
                (true, _) => Decision::Remove,
                (false, true) => Decision::Delete,
                (false, false) => Decision::Rest(None),
            };
        }
        let deadline =
            state.pod.spec.as_ref().and_then(|s| s.active_deadline_seconds).map(|s| state.start_time + SignedDuration::from_secs(s));
        if !deleting && !state.finished && deadline.is_some_and(|at| at <= now) {
            let message = "Pod was active on the node longer than the specified deadline".to_string();
            self.core.event(&state.pod, EventType::Normal, "DeadlineExceeded", message.clone());
            state.cause = Some(("DeadlineExceeded".into(), message));
            state.finished = true;
        }
        if state.relist && !acting {
            return Decision::Rest(None);
        }
        if deleting || state.finished {
            if state.kill_until.is_none() {
                let own = state.pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
                state.end_within(state.pod.metadata.deletion_grace_period_seconds.or(own));
                state.hurry = false;
            }
            self.report.notify_one();
            return Decision::End;
        }
        let view = View {
            pod: &state.pod,
            observed: &state.observed,
            health: &state.health,
            backoff: &state.backoff,
            blocked: &state.blocked,
            to_restart: &state.to_restart,
            now,
        };
        let plan = plan(&view);
        if plan.finished {
            state.finished = true;
            let own = state.pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
            state.end_within(own);
            state.hurry = false;
            self.report.notify_one();
            return Decision::End;
        }
        if state.waiting != plan.waiting {
            state.waiting = plan.waiting.clone();
            self.report.notify_one();
        }
        self.tell_crashes(state, &plan);
        let wake = [plan.wake, deadline].into_iter().flatten().min();
        if plan.sandbox.is_none() && plan.start.is_empty() && plan.kill.is_empty() {
            return Decision::Rest(wake);
        }
        if let Some(held) = state.held.filter(|at| *at > now) {
            return Decision::Rest(Some(wake.map_or(held, |w| w.min(held))));
        }
        Decision::Act(Box::new(plan))
    }

    fn tell_crashes(&self, state: &mut State, plan: &Plan) {
        for (name, waiting) in plan.waiting.iter().filter(|(_, w)| w.reason == "CrashLoopBackOff") {
            let Some(last) = state.observed.latest(name).map(|s| s.id.clone()) else { continue };
            if state.told.insert(name.clone(), last.clone()).as_ref() == Some(&last) {
                continue;
            }
            tracing::debug!(pod = self.name, message = waiting.message, "back-off");
            let message = format!("Back-off restarting failed container {name} in pod {}_{}({})", self.name, self.namespace, self.uid);
            self.core.container_event(&state.pod, name, EventType::Warning, "BackOff", message);
        }
    }

    /// Called once nothing of the pod runs and nothing is mounted.
    pub fn mark_ended(&self) {
        self.state.lock().ended = true;
        self.changed();
    }

    async fn write_volumes(self: Arc<Self>) -> Option<Duration> {
        let (pod, ips) = {
            let state = self.state.lock();
            (state.pod.clone(), state.ips.clone())
        };
        match self.core.volumes.refresh(&pod, &self.core.facts(&pod, &ips)).await {
            Ok(next) => next,
            Err(error) => {
                self.core.event(&pod, EventType::Warning, "FailedMount", error.to_string());
                Some(Duration::from_secs(30))
            }
        }
    }

    async fn report_changes(self: Arc<Self>) {
        loop {
            self.report.notified().await;
            while !self.publish().await {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Tells the API what has changed. Returns whether there is nothing left to tell.
    pub async fn publish(&self) -> bool {
        let _one = self.publishing.lock().await;
        let (pod, status) = {
            let state = self.state.lock();
            let told = state.pod.status.as_ref();
            let terminal = told.and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed");
            let all_ended = told
                .and_then(|s| s.container_statuses.as_ref())
                .is_some_and(|l| l.iter().all(|c| c.state.as_ref().is_some_and(|s| s.terminated.is_some())));
            if state.gone || (state.relist && state.changes == 0) || (terminal && all_ended) {
                return true;
            }
            (state.pod.clone(), self.status(&state))
        };
        let Some(patch) = status::patch(&pod, &status) else { return true };
        let api: Api<Pod> = Api::namespaced(self.core.client.clone(), &self.namespace);
        match api.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Ok(pod) => {
                let mut state = self.state.lock();
                if newer(&pod, &state.pod) {
                    state.pod = Arc::new(pod);
                }
                true
            }
            // Another pod of that name, or none: this one's status is of no interest any more.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => true,
            Err(error) => {
                tracing::debug!(pod = self.name, %error, "the status could not be written");
                false
            }
        }
    }

    fn status(&self, state: &State) -> k8s_openapi::api::core::v1::PodStatus {
        let ips = self.core.facts(&state.pod, &state.ips).pod_ips;
        // On the node's network the addresses are known before there is a sandbox, and told with it.
        let ips = if spec::host_network(&state.pod) && state.observed.sandbox().is_none() { Vec::new() } else { ips };
        let known = status::Known {
            pod: &state.pod,
            observed: &state.observed,
            health: &state.health,
            waiting: &state.waiting,
            finished: state.finished,
            ended: state.ended,
            cause: state.cause.as_ref(),
            ips: &ips,
            host_ips: &self.core.config.node_ips,
            start_time: state.start_time,
            runtime: self.core.runtime_name(),
            now: Timestamp::now(),
        };
        status::status(&known)
    }

    /// The last step of a graceful deletion. Returns whether it is done.
    async fn delete(&self) -> bool {
        if !self.publish().await {
            return false;
        }
        let api: Api<Pod> = Api::namespaced(self.core.client.clone(), &self.namespace);
        let preconditions = Some(Preconditions { uid: Some(self.uid.clone()), resource_version: None });
        let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..Default::default() };
        match api.delete(&self.name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => {
                tracing::debug!(pod = self.name, %error, "the pod could not be deleted");
                return false;
            }
        }
        // A finalizer may keep the object; the watch tells when it goes.
        true
    }
}

impl State {
    /// Ends the pod within so many seconds, or sooner if that was agreed.
    fn end_within(&mut self, grace: Option<i64>) {
        let until = Timestamp::now() + SignedDuration::from_secs(grace.unwrap_or(30).clamp(1, 1 << 30));
        if self.kill_until.is_none_or(|before| until < before) {
            self.kill_until = Some(until);
            self.hurry = true;
        }
    }
}

impl Listener for Worker {
    fn health(&self, id: &str, change: &mut dyn FnMut(&mut Health)) {
        let mut state = self.state.lock();
        let Some(health) = state.health.get_mut(id) else { return };
        let before = *health;
        change(health);
        if *health != before {
            drop(state);
            self.changed();
        }
    }

    fn unhealthy(&self, container: &Container, message: String) {
        let state = self.state.lock();
        if state.kill_until.is_none() {
            self.core.container_event(&state.pod, &container.name, EventType::Warning, "Unhealthy", message);
        }
    }
}

fn version(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_deref()?.parse().ok()
}

/// Answers and watch events arrive in no fixed order.
fn newer(a: &Pod, b: &Pod) -> bool {
    match (version(a), version(b)) {
        (Some(a), Some(b)) => a >= b,
        _ => true,
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}

fn instant(at: Timestamp) -> Instant {
    let wait = Duration::try_from(Timestamp::now().duration_until(at)).unwrap_or_default();
    Instant::now() + wait + Duration::from_millis(1)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

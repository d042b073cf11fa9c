//! One pod, from the moment it is bound to this node until nothing is left of it. The worker itself
//! never waits for anything slow: what takes time runs beside it (`actions`), and every change wakes
//! it to look and decide again.

mod decision;
mod report;
mod resize;
mod turns;

pub use self::resize::Resize;
use crate::pods::backoff::Backoff;
use crate::pods::core::Core;
use crate::pods::lookup::ContainerRef;
use crate::pods::plan::{Blocked, Plan, Waiting};
use crate::pods::state::{Observed, Run, Sandbox, Seen};
use crate::probes::{Health, Listener};
use crate::volumes::Mounts;
use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
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
    /// With the resources that the node has agreed to.
    pub pod: Arc<Pod>,
    pub resize: Resize,
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
    /// The API was told so; only a finalizer may keep the object.
    released: bool,
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
        let resize = Resize::new(&pod);
        let pod = resize.agreed();
        let told = pod.status.as_ref();
        let ended = told.and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed");
        let ips = told.and_then(|s| s.pod_ips.as_ref()).into_iter().flatten().map(|ip| ip.ip.clone()).collect();
        // What has begun once is not refused later.
        let begun = relist || told.is_some_and(|s| s.start_time.is_some());
        let refused = match (ended, begun || pod.metadata.deletion_timestamp.is_some()) {
            (true, _) => None,
            (false, true) => {
                core.allocations.hold(&pod);
                None
            }
            (false, false) => core.allocations.take(&pod).err(),
        };
        let cause = refused.map(|refusal| (refusal.reason(), format!("Pod was rejected: {}", refusal.message)));
        if let Some((reason, message)) = &cause {
            core.event(&pod, EventType::Warning, reason, message.clone());
        }
        let state = State {
            resize,
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
            finished: ended || cause.is_some(),
            ended: false,
            released: false,
            cause,
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
        self.accept(&mut state, pod);
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
        self.core.allocations.release(&self.uid);
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
        state.resize.has.remove(id);
        state.to_restart.remove(id);
        if let Some(task) = state.probes.remove(id) {
            task.abort();
        }
        drop(state);
        self.core.index.lock().remove(id);
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

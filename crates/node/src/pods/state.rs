//! What the runtime holds of one pod. Rebuilt from the runtime's own labels and annotations at any
//! time; the agent keeps no state of its own on disk.

use crate::cri::api::{ContainerState, ContainerStatus, PodSandboxState, PodSandboxStatus};
use crate::cri::labels;
use jiff::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Created,
    Running,
    Exited,
    /// The runtime does not know any more.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    pub created_at: i64,
    pub ips: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: String,
    pub name: String,
    pub sandbox: String,
    pub attempt: u32,
    pub state: Run,
    /// Nanoseconds since the epoch, zero if it has not happened.
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub image: String,
    pub image_ref: String,
    pub hash: String,
    pub log_path: String,
    /// Host file of the termination message.
    pub message_file: Option<String>,
    pub message_policy: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub containers: Vec<Seen>,
}

impl Observed {
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest container of that name.
    pub fn latest(&self, name: &str) -> Option<&Seen> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest one in the current sandbox: what counts for init containers, which run again with
    /// every new sandbox.
    pub fn current(&self, name: &str) -> Option<&Seen> {
        let sandbox = &self.sandbox()?.id;
        self.containers.iter().find(|c| c.name == name && c.sandbox == *sandbox)
    }

    pub fn running(&self) -> impl Iterator<Item = &Seen> {
        self.containers.iter().filter(|c| c.state == Run::Running)
    }

    pub fn put(&mut self, seen: Seen) {
        match self.containers.iter_mut().find(|c| c.id == seen.id) {
            Some(old) => *old = seen,
            None => self.containers.push(seen),
        }
        self.containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.attempt)));
    }

    pub fn put_sandbox(&mut self, sandbox: Sandbox) {
        match self.sandboxes.iter_mut().find(|s| s.id == sandbox.id) {
            Some(old) => *old = sandbox,
            None => self.sandboxes.push(sandbox),
        }
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_at)));
    }
}

impl Sandbox {
    pub fn of(status: &PodSandboxStatus) -> Self {
        let network = status.network.as_ref();
        let first = network.map(|n| n.ip.clone()).filter(|ip| !ip.is_empty());
        let more = network.into_iter().flat_map(|n| n.additional_ips.iter().map(|ip| ip.ip.clone()));
        Self {
            id: status.id.clone(),
            attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
            ready: status.state() == PodSandboxState::SandboxReady,
            created_at: status.created_at,
            ips: first.into_iter().chain(more).collect(),
        }
    }
}

impl Seen {
    /// `None` for a container that this agent has not made.
    pub fn of(status: &ContainerStatus, sandbox: &str) -> Option<Self> {
        let name = status.labels.get(labels::CONTAINER_NAME)?.clone();
        let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
        let path = annotation(labels::TERMINATION_PATH);
        let message_file = status.mounts.iter().find(|m| !path.is_empty() && m.container_path == path).map(|m| m.host_path.clone());
        Some(Self {
            id: status.id.clone(),
            name,
            sandbox: sandbox.to_string(),
            attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
            state: match status.state() {
                ContainerState::ContainerCreated => Run::Created,
                ContainerState::ContainerRunning => Run::Running,
                ContainerState::ContainerExited => Run::Exited,
                ContainerState::ContainerUnknown => Run::Unknown,
            },
            created_at: status.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            reason: status.reason.clone(),
            message: status.message.clone(),
            image: status.image.as_ref().map(|i| i.image.clone()).unwrap_or_default(),
            image_ref: status.image_ref.clone(),
            hash: annotation(labels::CONTAINER_HASH),
            log_path: status.log_path.clone(),
            message_file,
            message_policy: annotation(labels::TERMINATION_POLICY),
        })
    }
}

/// The API's times have whole seconds.
pub fn seconds(nanos: i64) -> Option<Timestamp> {
    if nanos <= 0 {
        return None;
    }
    Timestamp::from_second(nanos / 1_000_000_000).ok()
}

pub fn exact(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos.max(0))).unwrap_or(Timestamp::UNIX_EPOCH)
}

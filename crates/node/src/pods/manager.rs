//! Hands what the API and the runtime tell to the workers, one per pod.

use super::core::Core;
use super::lookup::{ContainerRef, Pods};
use super::worker::Worker;
use super::{logs, orphans};
use crate::cri::api::ContainerState;
use crate::cri::{Result, RuntimeEvent, labels};
use client::{Change, Informer};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// In rounds of housekeeping: how often it is checked that no event was missed.
const CHECKED: u64 = 6;

/// Whether the runtime answers; `Err` says why not. `None` until it has been asked: a node that was
/// ready before a restart is not told to be otherwise for want of an answer.
pub type RuntimeState = Option<std::result::Result<(), String>>;

pub struct Manager {
    core: Arc<Core>,
    workers: Mutex<HashMap<String, Arc<Worker>>>,
    runtime: watch::Sender<RuntimeState>,
}

impl Manager {
    pub fn new(core: Arc<Core>) -> Arc<Self> {
        Arc::new(Self { core, workers: Mutex::default(), runtime: watch::Sender::new(None) })
    }

    pub fn runtime_state(&self) -> watch::Receiver<RuntimeState> {
        self.runtime.subscribe()
    }

    /// Images that pods here use or will.
    pub fn images_in_use(&self) -> HashSet<String> {
        self.workers.lock().values().flat_map(|w| w.images()).collect()
    }

    pub async fn run(
        self: Arc<Self>,
        pods: Informer<Pod>,
        mut refresh: mpsc::UnboundedReceiver<String>,
        mut finished: mpsc::UnboundedReceiver<String>,
        stop: CancellationToken,
    ) {
        let mut events = self.core.runtime.events();
        // Known before the first pod is begun, so that a new pod need not ask what there is of it.
        let mut inventory: Option<HashSet<String>> = None;
        let mut changes = pods.changes();
        let synced = pods.synced();
        tokio::pin!(synced);
        let mut complete = false;
        let mut ticks = 0u64;
        let mut tick = tokio::time::interval(HOUSEKEEPING);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(change) = changes.recv() => self.apply(change, inventory.as_ref(), &stop),
                Some(event) = events.next() => match event {
                    RuntimeEvent::Up => {
                        inventory = self.up().await.or(inventory);
                        self.workers.lock().values().for_each(|w| w.relist());
                        if complete {
                            self.remove_orphans(inventory.as_ref());
                        }
                    }
                    RuntimeEvent::Down(why) => {
                        tracing::warn!(why, "the container runtime is down");
                        drop(self.runtime.send_replace(Some(Err(why))));
                    }
                    RuntimeEvent::Changed { id } => {
                        let uid = self.core.index.lock().get(&id).cloned();
                        if let Some(worker) = uid.and_then(|uid| self.workers.lock().get(&uid).cloned()) {
                            worker.look(&id);
                        }
                    }
                },
                Some(uid) = refresh.recv() => {
                    if let Some(worker) = self.workers.lock().get(&uid) {
                        worker.refresh();
                    }
                }
                Some(uid) = finished.recv() => drop(self.workers.lock().remove(&uid)),
                () = &mut synced, if !complete => {
                    complete = true;
                    while let Ok(change) = changes.try_recv() {
                        self.apply(change, inventory.as_ref(), &stop);
                    }
                    self.remove_orphans(inventory.as_ref());
                }
                _ = tick.tick() => {
                    ticks += 1;
                    if ticks.is_multiple_of(CHECKED) {
                        tokio::spawn(self.clone().check());
                    }
                    tokio::spawn(self.clone().rotate_logs());
                }
                () = stop.cancelled() => return,
            }
        }
    }

    fn apply(&self, change: Change<Pod>, inventory: Option<&HashSet<String>>, stop: &CancellationToken) {
        let Some(pod) = change.object() else { return };
        let uid = pod.uid().unwrap_or_default();
        // A pod replaced by another of its name between two lists is told as one change.
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.uid() != new.uid()
            && let Some(worker) = self.workers.lock().get(&old.uid().unwrap_or_default())
        {
            worker.gone(old);
        }
        if change.new.is_none() {
            if let Some(worker) = self.workers.lock().get(&uid) {
                worker.gone(pod);
            }
            return;
        }
        let mut workers = self.workers.lock();
        if let Some(worker) = workers.get(&uid) {
            worker.update(pod.clone());
            return;
        }
        let relist = inventory.is_none_or(|known| known.contains(&uid));
        let worker = Worker::new(self.core.clone(), pod.clone(), relist);
        workers.insert(uid, worker.clone());
        tokio::spawn(worker.run(stop.clone()));
    }

    /// Learns what the runtime holds. `None` if it is gone again already.
    async fn up(&self) -> Option<HashSet<String>> {
        let known = self.inventory().await.inspect_err(|error| tracing::debug!(%error, "the runtime does not tell what it has")).ok();
        drop(self.runtime.send_replace(Some(Ok(()))));
        known
    }

    async fn inventory(&self) -> Result<HashSet<String>> {
        if let Ok(version) = self.core.runtime.version().await {
            // The name of a runtime does not change while it runs.
            let _ = self.core.runtime_name.set(version.runtime_name);
        }
        let mut uids = HashSet::new();
        let mut add = |id: String, found: &HashMap<String, String>| {
            if let Some(uid) = found.get(labels::POD_UID) {
                self.core.index.lock().insert(id, uid.clone());
                uids.insert(uid.clone());
            }
        };
        for sandbox in self.core.runtime.list_sandboxes(None).await? {
            add(sandbox.id, &sandbox.labels);
        }
        for container in self.core.runtime.list_containers(None).await? {
            add(container.id, &container.labels);
        }
        Ok(uids)
    }

    fn remove_orphans(self: &Arc<Self>, inventory: Option<&HashSet<String>>) {
        let mut uids = orphans::on_disk(self.core.config.root_dir.clone());
        uids.extend(inventory.into_iter().flatten().cloned());
        let orphans: HashSet<String> = {
            let workers = self.workers.lock();
            uids.into_iter().filter(|uid| !workers.contains_key(uid)).collect()
        };
        for uid in &orphans {
            tokio::spawn(orphans::remove(self.core.clone(), uid.clone()));
        }
        let manager = self.clone();
        tokio::task::spawn_blocking(move || {
            let config = &manager.core.config;
            logs::sweep(&config.pod_logs_dir, &config.container_logs_dir, |uid| {
                orphans.contains(uid) || manager.workers.lock().contains_key(uid)
            });
        });
    }

    /// Finds containers that have ended without anybody having been told.
    async fn check(self: Arc<Self>) {
        let Ok(containers) = self.core.runtime.list_containers(None).await else { return };
        for container in containers.iter().filter(|c| c.state() != ContainerState::ContainerRunning) {
            let uid = container.labels.get(labels::POD_UID).map(String::as_str).unwrap_or_default();
            let worker = self.workers.lock().get(uid).cloned();
            if let Some(worker) = worker.filter(|w| w.runs(&container.id)) {
                worker.look(&container.id);
            }
        }
    }

    async fn rotate_logs(self: Arc<Self>) {
        let workers: Vec<Arc<Worker>> = self.workers.lock().values().cloned().collect();
        for (id, log) in workers.iter().flat_map(|w| w.logs()) {
            if let Err(error) = logs::rotate(&*self.core.runtime, &self.core.config, &id, &log).await {
                tracing::warn!(%error, log = %log.display(), "a container's log could not be rotated");
            }
        }
    }
}

impl Pods for Manager {
    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let workers = self.workers.lock();
        let of_name = || workers.values().filter(|w| w.namespace == namespace && w.name == name).map(|w| w.pod());
        // While a successor of the same name is here already, it is the one that is meant.
        of_name().find(|p| p.metadata.deletion_timestamp.is_none()).or_else(|| of_name().next())
    }

    fn list(&self) -> Vec<Arc<Pod>> {
        self.workers.lock().values().map(|w| w.pod()).collect()
    }

    fn container(&self, pod_uid: &str, name: &str, previous: bool) -> Option<ContainerRef> {
        let worker = self.workers.lock().get(pod_uid).cloned()?;
        worker.container(name, previous)
    }

    fn sandbox(&self, pod_uid: &str) -> Option<String> {
        let worker = self.workers.lock().get(pod_uid).cloned()?;
        worker.sandbox()
    }
}

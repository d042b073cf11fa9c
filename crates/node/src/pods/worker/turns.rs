//! The turns of a worker: what has changed is looked at, decided upon and begun.

use super::{Decision, Kind, LOOKS, RETRY, Running, Worker, earliest, instant, sleep_until};
use crate::cri::RuntimeError;
use crate::pods::state::{Observed, Run, Sandbox, Seen, exact};
use crate::pods::{observe, spec};
use crate::probes;
use crate::probes::{Health, Probing};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl Worker {
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let reporter = tokio::spawn(self.clone().report_changes());
        let mut running: Option<Running> = None;
        let mut refreshing: Option<JoinHandle<Option<Duration>>> = None;
        let mut freed = self.core.allocations.freed();
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
                // Nobody reads the volumes of a pod that has ended, and a time that has passed would wake for ever.
                let read = !state.finished && !state.ended && state.observed.sandbox().is_some();
                if due && read && refreshing.is_none() {
                    (state.refresh, state.refresh_at) = (false, None);
                    refreshing = Some(tokio::spawn(self.clone().write_volumes()));
                }
                if read && refreshing.is_none() {
                    wake = earliest(wake, state.refresh_at);
                }
            }
            let deferred = self.state.lock().resize.deferred();
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(wake) => {}
                _ = freed.changed(), if deferred => self.ask_again(),
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
        running.iter().for_each(|seen| self.remember(&mut state, seen));
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
        let started_at = exact(seen.started_at);
        let task = tokio::spawn(probes::follow(probing, self.clone(), initial, started_at));
        state.probes.insert(seen.id.clone(), task);
    }
}

//! Probes: whether containers have started, are alive and are ready. One task follows one container,
//! from its start to its end; the thresholds are those of upstream's `pkg/kubelet/prober/worker.go`.

mod check;
mod grpc;
mod http;

pub use check::{Outcome, Probing, http_get};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub started: bool,
    pub ready: bool,
    pub startup_failed: bool,
    pub liveness_failed: bool,
}

impl Health {
    /// Before any probe has run.
    pub fn initial(container: &Container) -> Self {
        let started = container.startup_probe.is_none();
        Self { started, ready: started && container.readiness_probe.is_none(), ..Self::default() }
    }
}

/// Who is told what the probes found.
pub trait Listener: Send + Sync + 'static {
    fn health(&self, id: &str, change: &mut dyn FnMut(&mut Health));
    fn unhealthy(&self, container: &Container, message: String);
}

/// A failing readiness probe is looked at again this soon while it has never succeeded, so that a pod
/// whose server takes a moment is not unready for a whole period.
const EARLY: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(800)];

/// Follows one running container; ends by itself when a probe has failed for good.
pub async fn follow(probing: Probing, listener: Arc<dyn Listener>, initial: Health, started_at: Timestamp) {
    let container = &probing.container;
    let id = probing.id.as_str();
    if let Some(probe) = container.startup_probe.as_ref().filter(|_| !initial.started) {
        let mut rounds = Rounds::new(&probing, probe, "Startup", &*listener, started_at);
        loop {
            match rounds.next(&[]).await {
                Some(true) => break,
                Some(false) => {
                    listener.health(id, &mut |h| h.startup_failed = true);
                    return;
                }
                None => {}
            }
        }
        let ready = container.readiness_probe.is_none();
        listener.health(id, &mut |h| {
            h.started = true;
            h.ready |= ready;
        });
    }
    let liveness = async {
        let Some(probe) = &container.liveness_probe else { return };
        let mut rounds = Rounds::new(&probing, probe, "Liveness", &*listener, started_at);
        loop {
            if rounds.next(&[]).await == Some(false) {
                listener.health(id, &mut |h| h.liveness_failed = true);
                return;
            }
        }
    };
    let readiness = async {
        let Some(probe) = &container.readiness_probe else { return };
        let mut rounds = Rounds::new(&probing, probe, "Readiness", &*listener, started_at);
        let mut early: &[Duration] = if initial.ready { &[] } else { &EARLY };
        loop {
            if let Some(ready) = rounds.next(early).await {
                early = if ready { &[] } else { early };
                listener.health(id, &mut |h| h.ready = ready);
            }
        }
    };
    futures::future::join(liveness, readiness).await;
}

struct Rounds<'a> {
    probing: &'a Probing,
    probe: &'a Probe,
    noun: &'static str,
    listener: &'a dyn Listener,
    due: tokio::time::Instant,
    last: Option<bool>,
    run: i32,
    count: usize,
}

impl<'a> Rounds<'a> {
    fn new(probing: &'a Probing, probe: &'a Probe, noun: &'static str, listener: &'a dyn Listener, started_at: Timestamp) -> Self {
        let delay = Duration::from_secs(u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0));
        let ran = Duration::try_from(started_at.duration_until(Timestamp::now())).unwrap_or_default();
        let due = tokio::time::Instant::now() + delay.saturating_sub(ran);
        Self { probing, probe, noun, listener, due, last: None, run: 0, count: 0 }
    }

    /// Waits for the next round; `Some` once as many in a row agree as the thresholds ask for.
    async fn next(&mut self, early: &[Duration]) -> Option<bool> {
        tokio::time::sleep_until(self.due).await;
        let began = tokio::time::Instant::now();
        let outcome = self.probing.run(self.probe).await;
        let period = Duration::from_secs(u64::try_from(self.probe.period_seconds.unwrap_or(10).max(1)).unwrap_or(10));
        let good = match outcome {
            Outcome::Success => true,
            Outcome::Failure(message) => {
                self.listener.unhealthy(&self.probing.container, format!("{} probe failed: {message}", self.noun));
                false
            }
            // It says nothing about the container.
            Outcome::Unknown(message) => {
                tracing::debug!(container = self.probing.container.name, message, "a probe could not be made");
                self.due = began + period;
                return None;
            }
        };
        let wait = if good { period } else { early.get(self.count).copied().unwrap_or(period).min(period) };
        self.count += 1;
        self.due = (began + wait).max(tokio::time::Instant::now());
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let threshold = if good { self.probe.success_threshold.unwrap_or(1) } else { self.probe.failure_threshold.unwrap_or(3) };
        (self.run >= threshold).then_some(good)
    }
}

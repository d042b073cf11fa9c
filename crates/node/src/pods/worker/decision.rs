//! What a pod needs next, decided from what is known of it.

use super::{Decision, State, Worker};
use crate::pods::plan::{Plan, View, plan};
use client::EventType;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    pub(super) fn decide(&self, now: Timestamp, acting: bool) -> Decision {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let deleting = state.pod.metadata.deletion_timestamp.is_some() || state.gone;
        if state.ended {
            return match (state.gone, deleting) {
                (true, _) => Decision::Remove,
                (false, true) if !state.released => Decision::Delete,
                (false, true) => Decision::Rest(None),
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
            has: &state.resize.has,
            resize_at: state.resize.retry_at,
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
        let idle = plan.sandbox.is_none() && plan.start.is_empty() && plan.kill.is_empty() && plan.resize.is_empty();
        if state.resize.under_way && idle && !acting && state.resize.error.is_none() {
            self.complete_resize(state);
        }
        let wake = [plan.wake, deadline].into_iter().flatten().min();
        if idle {
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
        self.core.allocations.release(&self.uid);
        self.state.lock().ended = true;
        self.changed();
    }

    pub(super) async fn write_volumes(self: Arc<Self>) -> Option<Duration> {
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
}

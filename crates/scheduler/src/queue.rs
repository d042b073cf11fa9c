//! Pods that wait for a node: the ready by priority and age, the refused until something changes that
//! might help them or their time is up.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// Nobody waits longer than this without another try.
const FLUSH: Duration = Duration::from_secs(300);

struct Waiting {
    pod: Arc<Pod>,
    since: u64,
    attempts: u32,
    /// None: ready now.
    not_before: Option<Instant>,
    /// Refused: waits for a change of the cluster (or for its flush) before its back-off counts.
    unschedulable: Option<Instant>,
}

#[derive(Default)]
pub struct Queue {
    pods: HashMap<String, Waiting>,
    counter: u64,
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)
}

impl Queue {
    /// A new pod, or a new state of a waiting one. A changed spec or metadata gives a refused pod another try.
    pub fn put(&mut self, pod: Arc<Pod>) {
        let uid = pod.uid().unwrap_or_default();
        self.counter += 1;
        let since = self.counter;
        match self.pods.get_mut(&uid) {
            Some(waiting) => {
                if waiting.pod.spec != pod.spec || waiting.pod.metadata.labels != pod.metadata.labels {
                    waiting.unschedulable = None;
                }
                waiting.pod = pod;
            }
            None => {
                self.pods.insert(uid, Waiting { pod, since, attempts: 0, not_before: None, unschedulable: None });
            }
        }
    }

    pub fn remove(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// The most important pod whose turn it is. It stays known, so that its attempts count.
    pub fn pop(&mut self, now: Instant) -> Option<(Arc<Pod>, u32)> {
        let ready = |w: &Waiting| w.unschedulable.is_none_or(|flush| flush <= now) && w.not_before.is_none_or(|t| t <= now);
        let uid = self
            .pods
            .iter()
            .filter(|(_, w)| ready(w))
            .max_by_key(|(_, w)| (priority(&w.pod), std::cmp::Reverse(w.since)))
            .map(|(uid, _)| uid.clone())?;
        self.pods.remove(&uid).map(|w| (w.pod, w.attempts))
    }

    /// Back with a pod that could not be placed (`refused`) or whose binding failed.
    pub fn back(&mut self, pod: Arc<Pod>, attempts: u32, refused: bool, now: Instant) {
        let backoff = FIRST_BACKOFF.saturating_mul(1 << attempts.min(8)).min(LAST_BACKOFF);
        self.counter += 1;
        let since = self.counter;
        let uid = pod.uid().unwrap_or_default();
        let unschedulable = refused.then(|| now + FLUSH);
        self.pods.insert(uid, Waiting { pod, since, attempts: attempts + 1, not_before: Some(now + backoff), unschedulable });
    }

    /// Something changed that may make room.
    pub fn wake(&mut self) {
        for waiting in self.pods.values_mut() {
            waiting.unschedulable = None;
        }
    }

    /// When the next pod becomes ready by itself.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.pods.values().map(|w| w.unschedulable.unwrap_or(now).max(w.not_before.unwrap_or(now))).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": {"containers": [], "priority": priority}}))
                .unwrap(),
        )
    }

    #[test]
    fn importance_goes_first_then_age_and_the_refused_wait_for_a_change() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0)] {
            queue.put(pod(name, priority));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(now)).map(|(p, _)| p.name_any()).collect();
        assert_eq!(order, ["b", "a", "c"]);
        queue.back(pod("a", 0), 0, true, now);
        let later = now + Duration::from_secs(20);
        assert!(queue.pop(later).is_none());
        queue.wake();
        assert!(queue.pop(later).is_some_and(|(_, attempts)| attempts == 1));
    }
}

//! A work queue: keys are handed out once at a time, merged while they wait, and retried with a
//! back-off of their own (client-go's `workqueue` semantics).

use crate::metrics::{self, Busy, Series};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1000);

pub struct Queue<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<T> {
    state: Mutex<State<T>>,
    ready: Notify,
    /// Once the queue has a name.
    series: OnceLock<Series>,
}

struct State<T> {
    /// With when each was queued.
    order: VecDeque<(T, Instant)>,
    /// Waiting, or to be queued again once done.
    dirty: HashSet<T>,
    /// With when each was begun.
    processing: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
}

impl<T: Send> Busy for Inner<T> {
    fn working(&self) -> (Duration, Duration) {
        let state = self.state.lock();
        let now = Instant::now();
        let each = || state.processing.values().map(|since| now.saturating_duration_since(*since));
        (each().sum(), each().max().unwrap_or_default())
    }
}

impl<T: Eq + Hash + Clone + Send + 'static> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Eq + Hash + Clone + Send + 'static> Queue<T> {
    pub fn new() -> Self {
        let state = State { order: VecDeque::new(), dirty: HashSet::new(), processing: HashMap::new(), failures: HashMap::new() };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), ready: Notify::new(), series: OnceLock::new() }) }
    }

    /// Counts what happens here under `name` from now on.
    pub(crate) fn name(&self, name: &str) {
        if let Some(series) = metrics::queue(name) {
            series.depth.set(i64::try_from(self.inner.state.lock().order.len()).unwrap_or(i64::MAX));
            if self.inner.series.set(series).is_ok() {
                let queue: Arc<dyn Busy> = self.inner.clone();
                metrics::watch(name, Arc::downgrade(&queue));
            }
        }
    }

    fn count(&self, how: impl FnOnce(&Series)) {
        if let Some(series) = self.inner.series.get() {
            how(series);
        }
    }

    pub fn add(&self, key: T) {
        let mut state = self.inner.state.lock();
        if !state.dirty.insert(key.clone()) || state.processing.contains_key(&key) {
            return;
        }
        state.order.push_back((key, Instant::now()));
        drop(state);
        self.count(|s| {
            s.adds.inc();
            s.depth.inc();
        });
        self.inner.ready.notify_one();
    }

    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let queue = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            queue.add(key);
        });
    }

    /// Queues the key after its back-off, which doubles until [`Queue::forget`].
    pub fn retry(&self, key: T) {
        let failures = {
            let mut state = self.inner.state.lock();
            let count = state.failures.entry(key.clone()).or_insert(0);
            *count += 1;
            *count - 1
        };
        self.count(|s| s.retries.inc());
        self.add_after(key, backoff(failures));
    }

    pub fn forget(&self, key: &T) {
        self.inner.state.lock().failures.remove(key);
    }

    /// The next key, which nobody else gets until [`Queue::done`].
    pub async fn next(&self) -> T {
        loop {
            let notified = self.inner.ready.notified();
            {
                let mut state = self.inner.state.lock();
                if let Some((key, since)) = state.order.pop_front() {
                    let now = Instant::now();
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone(), now);
                    self.count(|s| {
                        s.depth.dec();
                        s.waited.observe((now - since).as_secs_f64());
                    });
                    // A notification may stand for several keys.
                    if !state.order.is_empty() {
                        self.inner.ready.notify_one();
                    }
                    return key;
                }
            }
            notified.await;
        }
    }

    /// Gives the key back; it is handed out again if it was added meanwhile.
    pub fn done(&self, key: &T) {
        let mut state = self.inner.state.lock();
        if let Some(since) = state.processing.remove(key) {
            self.count(|s| s.worked.observe(since.elapsed().as_secs_f64()));
        }
        if state.dirty.contains(key) {
            state.order.push_back((key.clone(), Instant::now()));
            drop(state);
            self.count(|s| {
                s.adds.inc();
                s.depth.inc();
            });
            self.inner.ready.notify_one();
        }
    }
}

fn backoff(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_key_added_while_processed_waits_until_it_is_done() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert!(queue.next().now_or_never().is_none());
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(queue.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_queue_tells_what_it_is_working_on() {
        let queue = Queue::new();
        queue.name("busy");
        queue.add("a");
        queue.next().await;
        let (all, first) = queue.inner.working();
        assert_eq!(all, first);
        let shown = |name: &str| {
            let families = prometheus::default_registry().gather();
            let metrics = families.iter().filter(|f| f.name() == name).flat_map(|f| f.get_metric());
            metrics.filter(|m| m.get_label().iter().any(|l| l.value() == "busy")).map(|m| m.get_gauge().get_value()).next()
        };
        assert!(shown("workqueue_unfinished_work_seconds").is_some_and(|s| s > 0.0));
        queue.done(&"a");
        assert_eq!(shown("workqueue_longest_running_processor_seconds"), Some(0.0));
    }

    #[tokio::test]
    async fn a_failing_key_comes_back() {
        let queue = Queue::new();
        queue.retry("a");
        assert_eq!(queue.next().await, "a");
    }

    #[test]
    fn retries_back_off_up_to_a_limit() {
        assert_eq!(backoff(0), FIRST_RETRY);
        assert_eq!(backoff(3), FIRST_RETRY * 8);
        assert_eq!(backoff(17), Duration::from_millis(655_360));
        assert_eq!(backoff(40), LAST_RETRY);
    }
}

//! What work queues do, under upstream's names, for the whole process: whoever serves `/metrics` here finds it
//! in the default registry.

use parking_lot::Mutex;
use prometheus::GaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntCounter, IntGauge};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};
use std::sync::{LazyLock, Weak};
use std::time::Duration;

struct Families {
    adds: IntCounterVec,
    retries: IntCounterVec,
    depth: IntGaugeVec,
    waited: HistogramVec,
    worked: HistogramVec,
}

/// Those of one queue.
pub struct Series {
    pub adds: IntCounter,
    pub retries: IntCounter,
    pub depth: IntGauge,
    pub waited: Histogram,
    pub worked: Histogram,
}

/// From 10 ns to 10 s in powers of ten.
const BUCKETS: [f64; 10] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0];

static FAMILIES: LazyLock<prometheus::Result<Families>> = LazyLock::new(|| {
    let label = ["name"];
    let histogram = |name: &str, help: &str| HistogramVec::new(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()), &label);
    let families = Families {
        adds: IntCounterVec::new(Opts::new("workqueue_adds_total", "Keys added."), &label)?,
        retries: IntCounterVec::new(Opts::new("workqueue_retries_total", "Keys that failed and were added again."), &label)?,
        depth: IntGaugeVec::new(Opts::new("workqueue_depth", "Keys waiting."), &label)?,
        waited: histogram("workqueue_queue_duration_seconds", "Time that keys waited.")?,
        worked: histogram("workqueue_work_duration_seconds", "Time that keys were worked on.")?,
    };
    let registry = prometheus::default_registry();
    registry.register(Box::new(families.adds.clone()))?;
    registry.register(Box::new(families.retries.clone()))?;
    registry.register(Box::new(families.depth.clone()))?;
    registry.register(Box::new(families.waited.clone()))?;
    registry.register(Box::new(families.worked.clone()))?;
    registry.register(Box::new(Running::new()?))?;
    Ok(families)
});

/// What can say how long it has been working on its keys: all together, and on the first of them.
pub trait Busy: Send + Sync {
    fn working(&self) -> (Duration, Duration);
}

static QUEUES: Mutex<Vec<(String, Weak<dyn Busy>)>> = Mutex::new(Vec::new());

/// What is under way, asked for when somebody reads it.
struct Running {
    unfinished: GaugeVec,
    longest: GaugeVec,
}

impl Running {
    fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &["name"]);
        Ok(Self {
            unfinished: gauge("workqueue_unfinished_work_seconds", "Time that keys have been worked on which are not done.")?,
            longest: gauge("workqueue_longest_running_processor_seconds", "Time that the first of these has been worked on.")?,
        })
    }
}

impl Collector for Running {
    fn desc(&self) -> Vec<&Desc> {
        self.unfinished.desc().into_iter().chain(self.longest.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        QUEUES.lock().retain(|(name, queue)| {
            let working = queue.upgrade().map(|queue| queue.working());
            let (all, longest) = working.unwrap_or_default();
            self.unfinished.with_label_values(&[name]).set(all.as_secs_f64());
            self.longest.with_label_values(&[name]).set(longest.as_secs_f64());
            working.is_some()
        });
        self.unfinished.collect().into_iter().chain(self.longest.collect()).collect()
    }
}

/// From now on the queue is asked what it is working on.
pub fn watch(name: &str, queue: Weak<dyn Busy>) {
    QUEUES.lock().push((name.to_string(), queue));
}

/// None where they cannot be registered, which costs nobody his work.
pub fn queue(name: &str) -> Option<Series> {
    let families = FAMILIES.as_ref().ok()?;
    let label = [name];
    Some(Series {
        adds: families.adds.with_label_values(&label),
        retries: families.retries.with_label_values(&label),
        depth: families.depth.with_label_values(&label),
        waited: families.waited.with_label_values(&label),
        worked: families.worked.with_label_values(&label),
    })
}

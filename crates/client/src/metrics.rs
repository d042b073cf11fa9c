//! What work queues do, under upstream's names, for the whole process: whoever serves `/metrics` here finds it
//! in the default registry.

use prometheus::{Histogram, IntCounter, IntGauge};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};
use std::sync::LazyLock;

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
    Ok(families)
});

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

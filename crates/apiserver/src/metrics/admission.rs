//! What admission took, by step and by plugin.

use super::histograms;
use crate::admission::Operation;
use arc_swap::ArcSwap;
use prometheus::{Histogram, HistogramVec, Registry};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Admit,
    Validate,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Of a plugin; empty for all of a step together.
    name: &'static str,
    step: Step,
    operation: Operation,
    rejected: bool,
}

pub struct Admission {
    step: HistogramVec,
    controller: HistogramVec,
    known: ArcSwap<HashMap<Key, Histogram>>,
}

/// Measures the plugins of a step, one after the other.
pub struct Timer<'a> {
    admission: &'a Admission,
    step: Step,
    operation: Operation,
    began: Instant,
    last: Instant,
}

impl Admission {
    pub fn new(registry: &Registry) -> Self {
        Self {
            step: histograms(
                registry,
                "apiserver_admission_step_admission_duration_seconds",
                "Time that all plugins of a step took.",
                &BUCKETS,
                &["operation", "rejected", "type"],
            ),
            controller: histograms(
                registry,
                "apiserver_admission_controller_admission_duration_seconds",
                "Time that one plugin took.",
                &BUCKETS,
                &["name", "operation", "rejected", "type"],
            ),
            known: ArcSwap::default(),
        }
    }

    pub fn begin(&self, step: Step, operation: Operation) -> Timer<'_> {
        let now = Instant::now();
        Timer { admission: self, step, operation, began: now, last: now }
    }

    fn observe(&self, key: Key, took: Duration) {
        if let Some(histogram) = self.known.load().get(&key) {
            return histogram.observe(took.as_secs_f64());
        }
        let ty = if key.step == Step::Admit { "admit" } else { "validate" };
        let operation = key.operation.as_str();
        let rejected = if key.rejected { "true" } else { "false" };
        let histogram = match key.name {
            "" => self.step.with_label_values(&[operation, rejected, ty]),
            name => self.controller.with_label_values(&[name, operation, rejected, ty]),
        };
        histogram.observe(took.as_secs_f64());
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(key, histogram.clone());
            known
        });
    }
}

impl Timer<'_> {
    /// The plugin `name` has just ended.
    pub fn plugin(&mut self, name: &'static str, rejected: bool) {
        let now = Instant::now();
        self.admission.observe(Key { name, step: self.step, operation: self.operation, rejected }, now - self.last);
        self.last = now;
    }

    pub fn end(self, rejected: bool) {
        let key = Key { name: "", step: self.step, operation: self.operation, rejected };
        self.admission.observe(key, self.began.elapsed());
    }
}

//! What admission took, by step, plugin and webhook.

use super::histograms;
use prometheus::{HistogramVec, Registry};
use std::time::Duration;

const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

pub struct Admission {
    step: HistogramVec,
    controller: HistogramVec,
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
        }
    }

    /// `ty`: `admit` or `validate`. `operation`: `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub fn step(&self, ty: &str, operation: &str, rejected: bool, took: Duration) {
        self.step.with_label_values(&[operation, text(rejected), ty]).observe(took.as_secs_f64());
    }

    pub fn plugin(&self, name: &str, ty: &str, operation: &str, rejected: bool, took: Duration) {
        self.controller.with_label_values(&[name, operation, text(rejected), ty]).observe(took.as_secs_f64());
    }
}

fn text(rejected: bool) -> &'static str {
    if rejected { "true" } else { "false" }
}

//! Priority and fairness: who ran, who waited, who was refused.

use super::{counters, gauges, histograms};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

const SECONDS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const LENGTHS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const SEATS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];

pub struct Flow {
    rejected: IntCounterVec,
    dispatched: IntCounterVec,
    waiting: IntGaugeVec,
    waiting_seats: IntGaugeVec,
    executing: IntGaugeVec,
    executing_seats: IntGaugeVec,
    wait: HistogramVec,
    execution: HistogramVec,
    length: HistogramVec,
    width: HistogramVec,
    pub nominal: IntGaugeVec,
    pub lower: IntGaugeVec,
    pub upper: IntGaugeVec,
    pub current: IntGaugeVec,
    pub demand: IntGaugeVec,
    pub target: IntGaugeVec,
}

/// Those of one flow schema at one priority level.
pub struct FlowSeries {
    names: [String; 2],
    rejected: IntCounterVec,
    pub dispatched: IntCounter,
    pub waiting: IntGauge,
    pub waiting_seats: IntGauge,
    pub executing: IntGauge,
    pub executing_seats: IntGauge,
    pub waited: Histogram,
    pub gave_up: Histogram,
    pub execution: Histogram,
    pub watch_execution: Histogram,
    pub length: Histogram,
    pub width: Histogram,
}

impl Flow {
    pub fn new(registry: &Registry) -> Self {
        let name = |name: &str| format!("apiserver_flowcontrol_{name}");
        let both = ["flow_schema", "priority_level"];
        let with = |more: &'static str| -> Vec<&'static str> { both.into_iter().chain([more]).collect() };
        let level = ["priority_level"];
        let gauge = |n: &str, help: &str| gauges(registry, &name(n), help, &both);
        let seats = |n: &str, help: &str| gauges(registry, &name(n), help, &level);
        Self {
            rejected: counters(registry, &name("rejected_requests_total"), "Requests refused.", &with("reason")),
            dispatched: counters(registry, &name("dispatched_requests_total"), "Requests let through.", &both),
            waiting: gauge("current_inqueue_requests", "Requests waiting in queues."),
            waiting_seats: gauge("current_inqueue_seats", "Seats that waiting requests will take."),
            executing: gauge("current_executing_requests", "Requests let through and not done."),
            executing_seats: gauge("current_executing_seats", "Seats taken."),
            wait: histograms(registry, &name("request_wait_duration_seconds"), "Time spent in a queue.", &SECONDS, &with("execute")),
            execution: histograms(registry, &name("request_execution_seconds"), "Time on a seat.", &SECONDS, &with("type")),
            length: histograms(registry, &name("request_queue_length_after_enqueue"), "Length of the queue joined.", &LENGTHS, &both),
            width: histograms(registry, &name("work_estimated_seats"), "Seats that requests were given.", &SEATS, &both),
            nominal: seats("nominal_limit_seats", "Seats by the level's shares."),
            lower: seats("lower_limit_seats", "Seats that are never lent."),
            upper: seats("upper_limit_seats", "Seats with all that may be borrowed."),
            current: seats("current_limit_seats", "Seats now."),
            demand: seats("demand_seats_high_watermark", "The most seats wanted at once in the last period."),
            target: seats("target_seats", "Seats aimed at."),
        }
    }

    pub fn of(&self, schema: &str, level: &str) -> FlowSeries {
        let both = [schema, level];
        FlowSeries {
            names: both.map(str::to_string),
            rejected: self.rejected.clone(),
            dispatched: self.dispatched.with_label_values(&both),
            waiting: self.waiting.with_label_values(&both),
            waiting_seats: self.waiting_seats.with_label_values(&both),
            executing: self.executing.with_label_values(&both),
            executing_seats: self.executing_seats.with_label_values(&both),
            waited: self.wait.with_label_values(&[schema, level, "true"]),
            gave_up: self.wait.with_label_values(&[schema, level, "false"]),
            execution: self.execution.with_label_values(&[schema, level, "regular"]),
            watch_execution: self.execution.with_label_values(&[schema, level, "watch"]),
            length: self.length.with_label_values(&both),
            width: self.width.with_label_values(&both),
        }
    }

    /// A level that is gone has no limits.
    pub fn forget(&self, level: &str) {
        for gauge in [&self.nominal, &self.lower, &self.upper, &self.current, &self.demand, &self.target] {
            let _ = gauge.remove_label_values(&[level]);
        }
    }
}

impl FlowSeries {
    pub fn rejected(&self, reason: &str) {
        self.rejected.with_label_values(&[&self.names[0], &self.names[1], reason]).inc();
    }

    pub fn rejections(&self, reason: &str) -> u64 {
        self.rejected.with_label_values(&[&self.names[0], &self.names[1], reason]).get()
    }
}

//! What the server counts, in the text form that Prometheus reads.

use crate::attributes::Attributes;
use http::StatusCode;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Bounds in seconds, as upstream's request durations have them (shortened).
const BUCKETS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

#[derive(Clone, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Default)]
struct Counters {
    mutating: AtomicI64,
    reading: AtomicI64,
    requests: Mutex<BTreeMap<Labels, u64>>,
    durations: Mutex<BTreeMap<String, Histogram>>,
    watches: AtomicI64,
    writes: AtomicU64,
    conflicts: AtomicU64,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Clone, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// A request that is under way.
pub struct Running {
    metrics: Metrics,
    mutating: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.gauge(self.mutating).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    fn gauge(&self, mutating: bool) -> &AtomicI64 {
        if mutating { &self.0.mutating } else { &self.0.reading }
    }

    pub fn begin(&self, attributes: &Attributes) -> Running {
        let mutating = !attributes.read_only();
        self.gauge(mutating).fetch_add(1, Ordering::Relaxed);
        Running { metrics: self.clone(), mutating }
    }

    pub fn wrote(&self, done: bool) {
        let counter = if done { &self.0.writes } else { &self.0.conflicts };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a watch until it is dropped.
    pub fn watching(&self) -> Watching {
        self.0.watches.fetch_add(1, Ordering::Relaxed);
        Watching(self.clone())
    }

    /// `objects`: how many there are, by resource.
    pub fn text(&self, objects: &[(String, usize)], store: Option<&store::Status>) -> String {
        let c = &*self.0;
        let mut out = String::new();
        // Writing into a string does not fail.
        let mut line = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        line("# TYPE apiserver_request_total counter".into());
        for (l, count) in c.requests.lock().iter() {
            line(format!(
                "apiserver_request_total{{code=\"{}\",group=\"{}\",resource=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"}} {count}",
                l.code, l.group, l.resource, l.subresource, l.verb, l.version
            ));
        }
        line("# TYPE apiserver_request_duration_seconds histogram".into());
        for (verb, h) in c.durations.lock().iter() {
            for (bound, count) in BUCKETS.iter().zip(h.buckets) {
                line(format!("apiserver_request_duration_seconds_bucket{{verb=\"{verb}\",le=\"{bound}\"}} {count}"));
            }
            line(format!("apiserver_request_duration_seconds_bucket{{verb=\"{verb}\",le=\"+Inf\"}} {}", h.count));
            line(format!("apiserver_request_duration_seconds_sum{{verb=\"{verb}\"}} {}", h.sum));
            line(format!("apiserver_request_duration_seconds_count{{verb=\"{verb}\"}} {}", h.count));
        }
        line("# TYPE apiserver_current_inflight_requests gauge".into());
        line(format!("apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {}", c.mutating.load(Ordering::Relaxed)));
        line(format!("apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {}", c.reading.load(Ordering::Relaxed)));
        line("# TYPE apiserver_longrunning_requests gauge".into());
        line(format!("apiserver_longrunning_requests{{verb=\"WATCH\"}} {}", c.watches.load(Ordering::Relaxed)));
        line("# TYPE apiserver_storage_writes_total counter".into());
        line(format!("apiserver_storage_writes_total{{result=\"done\"}} {}", c.writes.load(Ordering::Relaxed)));
        line(format!("apiserver_storage_writes_total{{result=\"conflict\"}} {}", c.conflicts.load(Ordering::Relaxed)));
        line("# TYPE apiserver_storage_objects gauge".into());
        for (resource, count) in objects {
            line(format!("apiserver_storage_objects{{resource=\"{resource}\"}} {count}"));
        }
        if let Some(status) = store {
            line("# TYPE apiserver_storage_size_bytes gauge".into());
            line(format!("apiserver_storage_size_bytes {}", status.size_bytes));
            line("# TYPE apiserver_storage_revision gauge".into());
            line(format!("apiserver_storage_revision {}", status.revision));
            line("# TYPE apiserver_storage_compacted_revision gauge".into());
            line(format!("apiserver_storage_compacted_revision {}", status.compacted));
        }
        out
    }
}

impl Running {
    pub fn end(self, attributes: &Attributes, code: StatusCode, took: Duration) {
        let verb = attributes.verb.to_uppercase();
        // Names of resources that do not exist would let anybody grow the table.
        let known =
            attributes.is_resource && code != StatusCode::NOT_FOUND && code != StatusCode::FORBIDDEN && code != StatusCode::UNAUTHORIZED;
        let text = |t: &str| if known { t.to_string() } else { String::new() };
        let labels = Labels {
            verb: if attributes.is_resource { verb.clone() } else { "GET".into() },
            group: text(&attributes.group),
            version: text(&attributes.version),
            resource: text(&attributes.resource),
            subresource: text(&attributes.subresource),
            code: code.as_u16(),
        };
        *self.metrics.0.requests.lock().entry(labels).or_default() += 1;
        if !attributes.is_resource || attributes.verb == "watch" {
            return;
        }
        let seconds = took.as_secs_f64();
        let mut durations = self.metrics.0.durations.lock();
        let histogram = durations.entry(verb).or_default();
        for (bound, count) in BUCKETS.iter().zip(histogram.buckets.iter_mut()) {
            *count += u64::from(seconds <= *bound);
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }
}

pub struct Watching(Metrics);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Watches: what they were sent.

use super::{counters, histograms};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

const SIZES: [f64; 8] = [1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

pub struct Watches {
    events: IntCounterVec,
    sizes: HistogramVec,
}

/// The counters of one watch.
pub struct Watching {
    events: IntCounter,
    sizes: Histogram,
}

impl Watches {
    pub fn new(registry: &Registry) -> Self {
        let labels = ["group", "resource", "version"];
        Self {
            events: counters(registry, "apiserver_watch_events_total", "Events sent to watches.", &labels),
            sizes: histograms(registry, "apiserver_watch_events_sizes", "Bytes of events sent to watches.", &SIZES, &labels),
        }
    }

    pub fn of(&self, group: &str, version: &str, resource: &str) -> Watching {
        let labels = [group, resource, version];
        Watching { events: self.events.with_label_values(&labels), sizes: self.sizes.with_label_values(&labels) }
    }
}

impl Watching {
    pub fn sent(&self, bytes: usize) {
        self.events.inc();
        #[allow(clippy::cast_precision_loss, reason = "a bucket's worth of precision is enough")]
        self.sizes.observe(bytes as f64);
    }
}

//! What the store was asked, and what is in it.

use super::{counters, gauges, histograms};
use crate::catalog::Catalog;
use meta::GroupResource;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry};
use std::time::Duration;

const DURATION: [f64; 23] =
    [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];

pub struct Storage {
    duration: HistogramVec,
    requests: IntCounterVec,
    errors: IntCounterVec,
    objects: IntGaugeVec,
    resource_objects: IntGaugeVec,
    size: IntGaugeVec,
    revision: IntGaugeVec,
    pub conflicts: IntCounter,
}

impl Storage {
    pub fn new(registry: &Registry) -> Self {
        let labels = ["group", "operation", "resource"];
        Self {
            duration: histograms(registry, "etcd_request_duration_seconds", "Time that the store took.", &DURATION, &labels),
            requests: counters(registry, "etcd_requests_total", "Requests to the store.", &labels),
            errors: counters(registry, "etcd_request_errors_total", "Requests that the store failed.", &labels),
            objects: gauges(registry, "apiserver_storage_objects", "Objects stored, by resource.", &["resource"]),
            resource_objects: gauges(
                registry,
                "apiserver_resource_objects",
                "Objects stored, by group and resource.",
                &["group", "resource"],
            ),
            size: gauges(registry, "apiserver_storage_size_bytes", "Size of the store's file.", &["storage_cluster_id"]),
            revision: gauges(registry, "socle_storage_revision", "The store's revisions.", &["kind"]),
            conflicts: counters(registry, "socle_storage_write_conflicts_total", "Writes that lost to another.", &[])
                .with_label_values(&[] as &[&str]),
        }
    }

    pub fn asked(&self, operation: &str, resource: &GroupResource, failed: bool, took: Duration) {
        let labels = [resource.group.as_str(), operation, resource.resource.as_str()];
        self.duration.with_label_values(&labels).observe(took.as_secs_f64());
        self.requests.with_label_values(&labels).inc();
        if failed {
            self.errors.with_label_values(&labels).inc();
        }
    }

    /// Counts anew what is there now.
    pub fn refresh(&self, catalog: &Catalog, status: Option<&store::Status>) {
        self.objects.reset();
        self.resource_objects.reset();
        for resource in catalog.all() {
            let Some(cache) = &resource.cache else { continue };
            let (name, count) = (&resource.group_resource, i64::try_from(cache.count()).unwrap_or(i64::MAX));
            self.objects.with_label_values(&[&name.to_string()]).set(count);
            self.resource_objects.with_label_values(&[&name.group, &name.resource]).set(count);
        }
        if let Some(status) = status {
            let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            self.size.with_label_values(&["default"]).set(number(status.size_bytes));
            self.revision.with_label_values(&["current"]).set(number(status.revision));
            self.revision.with_label_values(&["compacted"]).set(number(status.compacted));
        }
    }
}

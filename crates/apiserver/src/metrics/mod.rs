//! What the server counts, under upstream's names, labels and buckets, in the text form that Prometheus reads.
//!
//! What is counted for every request is looked up once per set of labels and then only added to; nothing
//! that a stranger can choose freely becomes a label.

mod access;
mod admission;
mod component;
mod deciders;
mod flow;
mod process;
mod requests;
mod storage;
mod watches;

pub use access::Access;
pub use admission::{Admission, Step};
pub use deciders::{Answered, Deciders};
pub use flow::{Flow, FlowSeries};
pub use requests::{Labels, Requests};
pub use storage::Storage;
pub use watches::{Watches, Watching};

use crate::features::Features;
use prometheus::core::Collector;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub struct Metrics {
    registry: Registry,
    /// Of health checks alone, for `/metrics/slis`.
    checks: Registry,
    pub requests: Requests,
    pub watches: Watches,
    pub access: Access,
    pub admission: Admission,
    pub deciders: Deciders,
    pub flow: Flow,
    pub storage: Storage,
    pub audit: Audit,
    check: IntGaugeVec,
    checks_total: IntCounterVec,
}

/// What became of events of the audit log.
pub struct Audit {
    pub events: prometheus::IntCounter,
    pub levels: IntCounterVec,
    pub errors: IntCounterVec,
}

impl Metrics {
    pub fn new(features: &Features) -> Self {
        let registry = Registry::new();
        let checks = Registry::new();
        component::register(&registry, features);
        process::register(&registry);
        let audit = Audit {
            events: counters(&registry, "apiserver_audit_event_total", "Audit events that were made and handed to the log.", &[])
                .with_label_values(&[] as &[&str]),
            levels: counters(
                &registry,
                "apiserver_audit_level_total",
                "Requests by the audit level that the policy gave them.",
                &["level"],
            ),
            errors: counters(&registry, "apiserver_audit_error_total", "Audit events that could not be written.", &["plugin"]),
        };
        let check = gauges(&checks, "kubernetes_healthcheck", "The last outcome of each health check, 1 for good.", &["name", "type"]);
        let checks_total =
            counters(&checks, "kubernetes_healthchecks_total", "Outcomes of each health check.", &["name", "status", "type"]);
        Self {
            requests: Requests::new(&registry),
            watches: Watches::new(&registry),
            access: Access::new(&registry),
            admission: Admission::new(&registry),
            deciders: Deciders::new(&registry),
            flow: Flow::new(&registry),
            storage: Storage::new(&registry),
            audit,
            registry,
            checks,
            check,
            checks_total,
        }
    }

    /// `endpoint`: `livez`, `readyz` or `healthz`.
    pub fn checked(&self, endpoint: &str, name: &str, good: bool) {
        self.check.with_label_values(&[name, endpoint]).set(good.into());
        self.checks_total.with_label_values(&[name, if good { "success" } else { "error" }, endpoint]).inc();
    }

    /// Everything: this server's, and what other parts of the process registered for the whole process.
    pub fn text(&self) -> Vec<u8> {
        let mut families = self.registry.gather();
        families.extend(self.checks.gather());
        families.extend(prometheus::default_registry().gather());
        encode(&families)
    }

    pub fn slis(&self) -> Vec<u8> {
        encode(&self.checks.gather())
    }
}

fn encode(families: &[prometheus::proto::MetricFamily]) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into memory does not fail, and a family without samples is left out.
    let filled: Vec<_> = families.iter().filter(|f| !f.get_metric().is_empty()).cloned().collect();
    if let Err(error) = TextEncoder::new().encode(&filled, &mut out) {
        tracing::error!(%error, "metrics could not be written");
    }
    out
}

/// Names are constants of this module, so a registration only fails if one is there twice.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels of metrics are well-formed");
    registry.register(Box::new(collector.clone())).expect("names of metrics are unique");
    collector
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(registry: &Registry, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
    registered(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_registered_and_is_told() {
        let metrics = Metrics::new(&Features::default());
        metrics.checked("livez", "ping", true);
        let text = String::from_utf8(metrics.text()).unwrap();
        for line in ["kubernetes_build_info{", "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1", "process_cpu_seconds_total "] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(String::from_utf8(metrics.slis()).unwrap().contains("kubernetes_healthchecks_total"));
    }
}

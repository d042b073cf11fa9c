//! Requests: how many, how long, how large.

use super::{counters, gauges, histograms};
use arc_swap::ArcSwap;
use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

const DURATION: [f64; 23] =
    [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const SIZE: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const COMPONENT: &str = "apiserver";

/// What tells one series from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels<'a> {
    /// `GET`, `LIST`, `WATCH`, `POST`, `PUT`, `PATCH`, `APPLY`, `DELETE`, `CONNECT` or `other`.
    pub verb: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    /// Or the path of what is no resource.
    pub subresource: &'a str,
    /// `resource`, `namespace`, `cluster`, or empty.
    pub scope: &'a str,
    pub dry_run: &'a str,
}

/// The counters of one set of labels.
pub struct Series {
    codes: Vec<(u16, IntCounter)>,
    duration: Histogram,
    sli: Option<Histogram>,
    sizes: Option<Histogram>,
}

pub struct Requests {
    total: IntCounterVec,
    duration: HistogramVec,
    sli: HistogramVec,
    sizes: HistogramVec,
    long: IntGaugeVec,
    terminations: IntCounterVec,
    aborts: IntCounterVec,
    pub handshake_errors: IntCounter,
    pub mutating: IntGauge,
    pub reading: IntGauge,
    hasher: RandomState,
    known: ArcSwap<HashMap<u64, Arc<Series>>>,
}

impl Requests {
    pub fn new(registry: &Registry) -> Self {
        let common = ["component", "group", "resource", "scope", "subresource", "verb", "version"];
        let with = |more: &'static str| -> Vec<&'static str> { common.into_iter().chain([more]).collect() };
        let inflight = gauges(registry, "apiserver_current_inflight_requests", "Requests being answered now, by kind.", &["request_kind"]);
        let both: Vec<&str> = common.into_iter().chain(["dry_run", "code"]).collect();
        Self {
            total: counters(registry, "apiserver_request_total", "Requests by verb, resource, scope and code of the answer.", &both),
            duration: histograms(registry, "apiserver_request_duration_seconds", "Time to answer.", &DURATION, &with("dry_run")),
            sli: histograms(
                registry,
                "apiserver_request_sli_duration_seconds",
                "Time to answer without waiting in queues and for webhooks.",
                &DURATION[2..],
                &common,
            ),
            sizes: histograms(registry, "apiserver_response_sizes", "Bytes of answers to reads.", &SIZE, &common),
            long: gauges(registry, "apiserver_longrunning_requests", "Requests that last as long as their client wants.", &common),
            terminations: counters(registry, "apiserver_request_terminations_total", "Requests refused in self-defence.", &with("code")),
            aborts: counters(
                registry,
                "apiserver_request_aborts_total",
                "Requests whose client went before the answer.",
                &["group", "resource", "scope", "subresource", "verb", "version"],
            ),
            handshake_errors: counters(registry, "apiserver_tls_handshake_errors_total", "TLS handshakes that failed.", &[])
                .with_label_values(&[] as &[&str]),
            mutating: inflight.with_label_values(&["mutating"]),
            reading: inflight.with_label_values(&["readOnly"]),
            hasher: RandomState::new(),
            known: ArcSwap::default(),
        }
    }

    fn values<'a>(l: &Labels<'a>) -> [&'a str; 7] {
        [COMPONENT, l.group, l.resource, l.scope, l.subresource, l.verb, l.version]
    }

    fn series(&self, labels: &Labels<'_>, code: StatusCode) -> Arc<Series> {
        let key = self.hasher.hash_one(labels);
        if let Some(series) = self.known.load().get(&key).filter(|s| s.codes.iter().any(|(c, _)| *c == code.as_u16())) {
            return series.clone();
        }
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            let common = Self::values(labels);
            let mut codes = known.get(&key).map_or_else(Vec::new, |s| s.codes.clone());
            let with = |more: &[&'_ str]| -> Vec<String> { common.iter().chain(more).map(|t| (*t).to_string()).collect() };
            codes.push((code.as_u16(), self.total.with_label_values(&with(&[labels.dry_run, code.as_str()]))));
            let read = matches!(labels.verb, "GET" | "LIST");
            let series = Series {
                codes,
                duration: self.duration.with_label_values(&with(&[labels.dry_run])),
                sli: labels.dry_run.is_empty().then(|| self.sli.with_label_values(&common)),
                sizes: read.then(|| self.sizes.with_label_values(&common)),
            };
            known.insert(key, Arc::new(series));
            known
        });
        self.known.load().get(&key).cloned().unwrap_or_else(|| self.series(labels, code))
    }

    /// `waited`: in queues and for webhooks. `size`: of the answer, where it is known.
    pub fn answered(&self, labels: &Labels<'_>, code: StatusCode, took: Duration, waited: Duration, size: Option<u64>) {
        let series = self.series(labels, code);
        if let Some((_, count)) = series.codes.iter().find(|(c, _)| *c == code.as_u16()) {
            count.inc();
        }
        series.duration.observe(took.as_secs_f64());
        if let Some(sli) = &series.sli {
            sli.observe(took.saturating_sub(waited).as_secs_f64());
        }
        if let (Some(sizes), Some(size)) = (&series.sizes, size) {
            #[allow(clippy::cast_precision_loss, reason = "a bucket's worth of precision is enough")]
            sizes.observe(size as f64);
        }
    }

    pub fn long_running(&self, labels: &Labels<'_>) -> IntGauge {
        self.long.with_label_values(&Self::values(labels))
    }

    pub fn terminated(&self, labels: &Labels<'_>, code: &str) {
        let values: Vec<&str> = Self::values(labels).into_iter().chain([code]).collect();
        self.terminations.with_label_values(&values).inc();
    }

    pub fn aborted(&self, labels: &Labels<'_>) {
        self.aborts.with_label_values(&Self::values(labels)[1..]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, TextEncoder};

    #[test]
    fn codes_of_one_series_are_counted_apart() {
        let registry = Registry::new();
        let requests = Requests::new(&registry);
        let labels = Labels { verb: "GET", version: "v1", resource: "pods", scope: "resource", ..Labels::default() };
        let took = Duration::from_millis(7);
        for code in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::OK] {
            requests.answered(&labels, code, took, Duration::ZERO, Some(2000));
        }
        let mut out = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let common = "group=\"\",resource=\"pods\",scope=\"resource\",subresource=\"\",verb=\"GET\",version=\"v1\"";
        let (code, rest) = ("code=\"200\",component=\"apiserver\",dry_run=\"\"", "component=\"apiserver\",dry_run=\"\"");
        assert!(text.contains(&format!("apiserver_request_total{{{code},{common}}} 2")), "{text}");
        assert!(text.contains(&format!("apiserver_request_duration_seconds_bucket{{{rest},{common},le=\"0.025\"}} 3")), "{text}");
        assert!(text.contains(&format!("apiserver_response_sizes_bucket{{component=\"apiserver\",{common},le=\"10000\"}} 3")), "{text}");
    }
}

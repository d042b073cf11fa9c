//! Who was let in, and what they were allowed.

use super::{counters, histograms};
use prometheus::{Histogram, IntCounter, IntCounterVec, Registry};
use std::time::Duration;

const NAMES: [&str; 6] =
    ["kubernetes-admin", "system:anonymous", "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "admin"];

/// A counter and the time it took.
struct Outcome {
    count: IntCounter,
    took: Histogram,
}

impl Outcome {
    fn add(&self, took: Duration) {
        self.count.inc();
        self.took.observe(took.as_secs_f64());
    }
}

pub struct Access {
    users: IntCounterVec,
    authenticated: Outcome,
    unknown: Outcome,
    refused: Outcome,
    allowed: Outcome,
    denied: Outcome,
}

/// 1 ms, and twice as much fifteen times.
pub fn powers(first: f64, count: u32) -> Vec<f64> {
    (0..count).map(|i| first * f64::from(1 << i)).collect()
}

impl Access {
    pub fn new(registry: &Registry) -> Self {
        let buckets = powers(0.001, 15);
        let who = counters(registry, "authentication_attempts", "Attempts to authenticate by result.", &["result"]);
        let who_took = histograms(registry, "authentication_duration_seconds", "Time to authenticate.", &buckets, &["result"]);
        let may = counters(registry, "authorization_attempts_total", "Decisions of authorization by result.", &["result"]);
        let may_took = histograms(registry, "authorization_duration_seconds", "Time to authorize.", &buckets, &["result"]);
        let authentication = |r: &str| Outcome { count: who.with_label_values(&[r]), took: who_took.with_label_values(&[r]) };
        let authorization = |r: &str| Outcome { count: may.with_label_values(&[r]), took: may_took.with_label_values(&[r]) };
        Self {
            users: counters(registry, "authenticated_user_requests", "Authenticated requests by user.", &["username"]),
            authenticated: authentication("success"),
            unknown: authentication("failure"),
            refused: authentication("error"),
            allowed: authorization("allowed"),
            denied: authorization("denied"),
        }
    }

    pub fn authenticated(&self, user: &str, took: Duration) {
        self.authenticated.add(took);
        // Anybody else is one of many; the table stays small.
        let name = if NAMES.contains(&user) { user } else { "other" };
        self.users.with_label_values(&[name]).inc();
    }

    /// `error`: there were credentials, and they were refused.
    pub fn unknown(&self, error: bool, took: Duration) {
        if error { &self.refused } else { &self.unknown }.add(took);
    }

    pub fn authorized(&self, allowed: bool, took: Duration) {
        if allowed { &self.allowed } else { &self.denied }.add(took);
    }
}

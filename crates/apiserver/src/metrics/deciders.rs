//! What those decided whom the API itself names: webhooks and policies. Their names come from administrators.

use super::{counters, histograms};
use crate::admission::Operation;
use prometheus::{HistogramVec, IntCounterVec, Registry};
use std::time::Duration;

const WEBHOOK_BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const POLICY_BUCKETS: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// Codes beyond are counted as this one.
const MOST: u16 = 600;

/// How a question to a webhook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Yes,
    No(u16),
    /// There was no usable answer; whether the request failed by that.
    Nothing {
        code: u16,
        rejected: bool,
    },
    /// This server could not do what was wanted.
    Wrong,
}

pub struct Deciders {
    webhook: HistogramVec,
    webhook_requests: IntCounterVec,
    webhook_rejections: IntCounterVec,
    webhook_open: IntCounterVec,
    checks: IntCounterVec,
    check: HistogramVec,
}

impl Deciders {
    pub fn new(registry: &Registry) -> Self {
        let name = |name: &str| format!("apiserver_admission_webhook_{name}");
        let policy = |name: &str| format!("apiserver_validating_admission_policy_{name}");
        let of_policy = ["enforcement_action", "error_type", "policy", "policy_binding"];
        Self {
            webhook: histograms(
                registry,
                &name("admission_duration_seconds"),
                "Time that one webhook took.",
                &WEBHOOK_BUCKETS,
                &["name", "operation", "rejected", "type"],
            ),
            webhook_requests: counters(
                registry,
                &name("request_total"),
                "Questions to webhooks.",
                &["code", "name", "operation", "rejected", "type"],
            ),
            webhook_rejections: counters(
                registry,
                &name("rejection_count"),
                "Requests that ended at a webhook.",
                &["error_type", "name", "operation", "rejection_code", "type"],
            ),
            webhook_open: counters(
                registry,
                &name("fail_open_count"),
                "Webhooks that could not be asked and were passed over.",
                &["name", "type"],
            ),
            checks: counters(registry, &policy("check_total"), "What validations of policies led to.", &of_policy),
            check: histograms(
                registry,
                &policy("check_duration_seconds"),
                "Time that one validation of a policy took.",
                &POLICY_BUCKETS,
                &of_policy,
            ),
        }
    }

    /// `ty`: `admit` for webhooks that may change the object, `validating` for the others.
    pub fn webhook(&self, name: &str, ty: &str, operation: Operation, answered: Answered, took: Duration) {
        let operation = operation.as_str();
        let (code, rejected, error) = match answered {
            Answered::Yes => (200, false, ""),
            Answered::No(code) => (code.min(MOST), true, "no_error"),
            Answered::Nothing { code, rejected } => (code.min(MOST), rejected, "calling_webhook_error"),
            Answered::Wrong => (0, true, "apiserver_internal_error"),
        };
        let (code, said) = (code.to_string(), if rejected { "true" } else { "false" });
        self.webhook.with_label_values(&[name, operation, said, ty]).observe(took.as_secs_f64());
        self.webhook_requests.with_label_values(&[code.as_str(), name, operation, said, ty]).inc();
        if rejected {
            self.webhook_rejections.with_label_values(&[error, name, operation, code.as_str(), ty]).inc();
        } else if answered != Answered::Yes {
            self.webhook_open.with_label_values(&[name, ty]).inc();
        }
    }

    pub fn policy(&self, policy: &str, binding: &str, error: &str, action: &str, took: Duration) {
        self.checks.with_label_values(&[action, error, policy, binding]).inc();
        self.check.with_label_values(&[action, error, policy, binding]).observe(took.as_secs_f64());
    }
}

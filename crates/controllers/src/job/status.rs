//! A Job's status: what the counts and the end make of it.

use super::plan::{Tally, indexed};
use super::policy::format_indexes;
use crate::pods;
use client::EventType;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// Where the Job is going, before all its pods have ended.
pub struct End {
    pub failed: bool,
    pub why: (String, String),
}

fn holds<'a>(status: Option<&'a JobStatus>, kind: &str) -> Option<&'a JobCondition> {
    status?.conditions.as_deref()?.iter().find(|c| c.type_ == kind && c.status == "True")
}

pub fn finished(job: &Job) -> bool {
    ended(job).is_some()
}

pub fn ended(job: &Job) -> Option<Timestamp> {
    let status = job.status.as_ref();
    let condition = holds(status, "Complete").or_else(|| holds(status, "Failed"))?;
    Some(condition.last_transition_time.as_ref().map_or_else(Timestamp::now, |t| t.0))
}

/// The end that was decided on in an earlier run.
pub fn target(job: &Job) -> Option<End> {
    let status = job.status.as_ref();
    let end = |c: &JobCondition, failed| End { failed, why: (c.reason.clone().unwrap_or_default(), c.message.clone().unwrap_or_default()) };
    let success = holds(status, "SuccessCriteriaMet").map(|c| end(c, false));
    success.or_else(|| holds(status, "FailureTarget").map(|c| end(c, true)))
}

pub fn compose(job: &Job, spec: &JobSpec, tally: &Tally, end: Option<&End>, over: bool, now: Timestamp) -> JobStatus {
    let mut new = job.status.clone().unwrap_or_default();
    let count = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    new.active = count(tally.active.len()).filter(|n| *n > 0);
    new.ready = count(tally.active.iter().filter(|p| pods::ready(p)).count());
    new.terminating = count(tally.terminating.len());
    new.succeeded = Some(tally.succeeded).filter(|n| *n > 0);
    new.failed = Some(tally.failed).filter(|n| *n > 0);
    new.uncounted_terminated_pods = Some(tally.uncounted.clone());
    if indexed(spec) {
        new.completed_indexes = Some(format_indexes(&tally.completed)).filter(|t| !t.is_empty());
        new.failed_indexes = spec.backoff_limit_per_index.map(|_| format_indexes(&tally.failed_indexes));
    }
    let suspended = spec.suspend == Some(true);
    if let Some(end) = end {
        let (first, last) = if end.failed { ("FailureTarget", "Failed") } else { ("SuccessCriteriaMet", "Complete") };
        set(&mut new, first, "True", &end.why.0, &end.why.1, now);
        if over {
            set(&mut new, last, "True", &end.why.0, &end.why.1, now);
            if !end.failed {
                new.completion_time = Some(Time(now));
            }
        }
    } else if suspended {
        set(&mut new, "Suspended", "True", "JobSuspended", "Job suspended", now);
        new.start_time = None;
    } else {
        if holds(Some(&new), "Suspended").is_some() {
            set(&mut new, "Suspended", "False", "JobResumed", "Job resumed", now);
            new.start_time = Some(Time(now));
        }
        new.start_time = new.start_time.or(Some(Time(now)));
    }
    new
}

fn set(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|c| c.type_ == kind && c.status == value) {
        return;
    }
    conditions.retain(|c| c.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// The status as a merge patch: what is not there is cleared.
pub fn full(status: &JobStatus) -> Value {
    let mut value = json!(status);
    if let Value::Object(fields) = &mut value {
        for field in ["active", "succeeded", "failed", "startTime", "completionTime", "completedIndexes", "failedIndexes"] {
            fields.entry(field).or_insert(Value::Null);
        }
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        fields.insert("uncountedTerminatedPods".into(), json!({"succeeded": uncounted.succeeded, "failed": uncounted.failed}));
    }
    value
}

/// What has newly come about, for those who watch events.
pub fn events(job: &Job, new: &JobStatus) -> Vec<(EventType, String, String)> {
    let old = job.status.as_ref();
    let fresh = |kind: &str| holds(Some(new), kind).filter(|_| holds(old, kind).is_none());
    let mut events = Vec::new();
    if fresh("Complete").is_some() {
        events.push((EventType::Normal, "Completed".into(), "Job completed".into()));
    }
    if let Some(failed) = fresh("Failed") {
        events.push((EventType::Warning, failed.reason.clone().unwrap_or_default(), failed.message.clone().unwrap_or_default()));
    }
    if fresh("Suspended").is_some() {
        events.push((EventType::Normal, "Suspended".into(), "Job suspended".into()));
    }
    if holds(old, "Suspended").is_some() && holds(Some(new), "Suspended").is_none() {
        events.push((EventType::Normal, "Resumed".into(), "Job resumed".into()));
    }
    events
}

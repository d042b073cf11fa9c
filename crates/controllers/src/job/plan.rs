//! What a Job's pods have come to: each is named in the status first, then let go, then counted.

use super::policy::{self, Verdict};
use crate::pods;
use k8s_openapi::api::batch::v1::{Job, JobSpec, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
#[cfg(test)]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

pub fn indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub fn index(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// The failures before this pod at its index.
pub fn index_failures(pod: &Pod) -> i32 {
    pod.annotations().get(FAILURES).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Whether a pod on its way out is only replaced, and only has failed, once it has ended.
pub fn only_failed(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

pub fn tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|f| f == FINALIZER)
}

#[derive(Default)]
pub struct Tally {
    pub active: Vec<Arc<Pod>>,
    /// On their way out and not at their end.
    pub terminating: Vec<Arc<Pod>>,
    /// To lose their finalizer once the status that names them is written.
    pub settled: Vec<Arc<Pod>>,
    pub succeeded: i32,
    pub failed: i32,
    pub uncounted: UncountedTerminatedPods,
    pub completed: BTreeSet<i32>,
    pub failed_indexes: BTreeSet<i32>,
    /// What a rule of the failure policy that ends the Job says.
    pub fail_job: Option<String>,
}

impl Tally {
    /// With those that are named and not counted yet.
    pub fn successes(&self) -> i32 {
        self.succeeded + len(self.uncounted.succeeded.as_ref().map_or(0, Vec::len))
    }

    pub fn failures(&self) -> i32 {
        self.failed + len(self.uncounted.failed.as_ref().map_or(0, Vec::len))
    }

    pub fn nothing_uncounted(&self) -> bool {
        self.settled.is_empty() && self.uncounted.succeeded.is_none() && self.uncounted.failed.is_none()
    }
}

fn len(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// `succeeding`: the Job has what it wanted and removes the rest, which is no failure of theirs.
pub fn tally(job: &Job, spec: &JobSpec, children: &[Arc<Pod>], succeeding: bool) -> Tally {
    let status = job.status.clone().unwrap_or_default();
    let named = status.uncounted_terminated_pods.unwrap_or_default();
    let held = |uid: &str| children.iter().any(|p| p.uid().as_deref() == Some(uid) && tracked(p));
    let split = |uids: Option<Vec<String>>| uids.unwrap_or_default().into_iter().partition::<Vec<_>, _>(|uid| held(uid));
    let (mut succeeded, good) = split(named.succeeded);
    let (mut failed, bad) = split(named.failed);
    let mut tally = Tally {
        succeeded: status.succeeded.unwrap_or(0) + len(good.len()),
        failed: status.failed.unwrap_or(0) + len(bad.len()),
        completed: policy::parse_indexes(status.completed_indexes.as_deref().unwrap_or("")),
        failed_indexes: policy::parse_indexes(status.failed_indexes.as_deref().unwrap_or("")),
        ..Tally::default()
    };
    let completions = spec.completions.unwrap_or(0);
    for pod in children {
        let (uid, going) = (pod.uid().unwrap_or_default(), pod.metadata.deletion_timestamp.is_some());
        let ended = pods::finished(pod);
        if pods::active(pod) {
            tally.active.push(pod.clone());
        } else if going && !ended {
            tally.terminating.push(pod.clone());
        }
        let lost = going && !ended && !only_failed(spec);
        if !tracked(pod) || !(ended || lost || (going && succeeding)) {
            continue;
        }
        tally.settled.push(pod.clone());
        if pods::phase(pod) == "Succeeded" {
            if indexed(spec) {
                tally.completed.extend(index(pod).filter(|i| *i < completions));
            } else if !succeeded.contains(&uid) {
                succeeded.push(uid);
            }
            continue;
        }
        if failed.contains(&uid) || (succeeding && !ended) {
            continue;
        }
        let out_of_tries = spec.backoff_limit_per_index.is_some_and(|limit| index_failures(pod) >= limit);
        match policy::verdict(spec, pod) {
            Verdict::Ignore => continue,
            Verdict::FailJob(why) => tally.fail_job = Some(why),
            Verdict::FailIndex => tally.failed_indexes.extend(index(pod)),
            Verdict::Count if out_of_tries => tally.failed_indexes.extend(index(pod)),
            Verdict::Count => {}
        }
        failed.push(uid);
    }
    if indexed(spec) {
        tally.succeeded = len(tally.completed.len());
        let completed = &tally.completed;
        tally.failed_indexes.retain(|i| !completed.contains(i));
    }
    let some = |uids: Vec<String>| Some(uids).filter(|u| !u.is_empty());
    tally.uncounted = UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) };
    tally
}

/// How many pods should run.
pub fn wanted(spec: &JobSpec, successes: i32, failed_indexes: usize, active: i32) -> i32 {
    let parallelism = spec.parallelism.unwrap_or(1);
    match spec.completions {
        // Any success ends a work queue: what runs runs out, and nothing new starts.
        None if successes > 0 => active.min(parallelism),
        None => parallelism,
        Some(completions) => (completions - successes - len(failed_indexes)).clamp(0, parallelism.max(0)),
    }
}

/// The lowest indexes that neither run nor have ended.
pub fn next_indexes(spec: &JobSpec, tally: &Tally, count: i32) -> Vec<i32> {
    let leaving = tally.terminating.iter().filter(|_| only_failed(spec));
    let running: BTreeSet<i32> = tally.active.iter().chain(leaving).filter_map(|p| index(p)).collect();
    let free = |i: &i32| !running.contains(i) && !tally.completed.contains(i) && !tally.failed_indexes.contains(i);
    (0..spec.completions.unwrap_or(0)).filter(free).take(usize::try_from(count).unwrap_or(0)).collect()
}

/// Why the Job has failed, if it has. `elapsed` seconds have passed since it started.
pub fn failure(spec: &JobSpec, tally: &Tally, elapsed: Option<i64>) -> Option<(String, String)> {
    let why = |reason: &str, message: &str| Some((reason.to_string(), message.to_string()));
    if let Some(message) = &tally.fail_job {
        return why("PodFailurePolicy", message);
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    let in_place = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("OnFailure");
    let restarts: i32 = tally.active.iter().map(|p| policy::all_restarts(p)).sum();
    if tally.failures() > limit || (in_place && restarts > 0 && restarts >= limit) {
        return why("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if spec.active_deadline_seconds.zip(elapsed).is_some_and(|(limit, elapsed)| elapsed >= limit) {
        return why("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let lost = len(tally.failed_indexes.len());
    if spec.max_failed_indexes.is_some_and(|most| lost > most) {
        return why("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
    }
    if lost > 0 && spec.completions.is_some_and(|c| tally.successes() + lost >= c) {
        return why("FailedIndexes", "Job has failed indexes");
    }
    None
}

/// Why the Job has succeeded, if it has.
pub fn success(spec: &JobSpec, tally: &Tally) -> Option<(String, String)> {
    if let Some(rule) = policy::matched_success(spec, &tally.completed) {
        return Some(("SuccessPolicy".into(), format!("Matched rules at index {rule}")));
    }
    let running = !tally.active.is_empty() || !tally.terminating.is_empty();
    let reached = spec.completions.map_or(tally.successes() > 0 && !running, |c| tally.successes() >= c);
    reached.then(|| ("CompletionsReached".into(), "Reached expected number of succeeded pods".into()))
}

#[cfg(test)]
mod tests;

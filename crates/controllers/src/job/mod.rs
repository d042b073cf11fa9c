//! Jobs: pods that are to end well so many times. A pod carries a finalizer until it is counted, so
//! that none is counted twice or missed; `plan` has the counting.

mod plan;

use crate::Context;
use crate::context::{if_there, itself, owner};
use crate::expectations::Expectations;
use crate::{owned, pods};
use client::{EventType, Informer, Key, Queue, reference};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const FIRST_BACKOFF: i64 = 10;
const LAST_BACKOFF: i64 = 600;

pub async fn run(context: Context) {
    let jobs = context.informers.of::<Job>();
    let all_pods = context.informers.of::<Pod>();
    tokio::join!(jobs.synced(), all_pods.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&jobs, &queue, itself);
    context.feed(&all_pods, &queue, owner("Job"));
    let expectations = Arc::new(Expectations::default());
    let stop = context.stop.clone();
    client::run("job", queue, 4, stop, move |key: Key| {
        let (context, jobs, all_pods, expectations) = (context.clone(), jobs.clone(), all_pods.clone(), expectations.clone());
        async move {
            let Some(job) = jobs.get(&key.namespace, &key.name) else { return Ok(None) };
            let uid = job.uid().unwrap_or_default();
            let going = |uid: &str| all_pods.by_uid(uid).is_none_or(|p| p.metadata.deletion_timestamp.is_some());
            if !expectations.met(&uid, |uid| all_pods.by_uid(uid).is_some(), going) {
                return Ok(Some(Duration::from_secs(10)));
            }
            reconcile(&context, &job, &all_pods, &expectations).await
        }
    })
    .await;
}

fn has(status: &JobStatus, type_: &str) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
}

fn set(status: &mut JobStatus, type_: &str, on: bool, reason: &str, message: &str) -> bool {
    let word = if on { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let now = Some(Time(Timestamp::now()));
    let new = JobCondition {
        type_: type_.into(),
        status: word.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: now.clone(),
        last_transition_time: now,
    };
    match conditions.iter_mut().find(|c| c.type_ == type_) {
        Some(old) if old.status == word => return false,
        Some(old) => *old = new,
        None if on => conditions.push(new),
        None => return false,
    }
    true
}

async fn reconcile(context: &Context, job: &Job, all_pods: &Informer<Pod>, expectations: &Expectations) -> Result<Option<Duration>, kube::Error> {
    let Some(spec) = &job.spec else { return Ok(None) };
    let mut status = job.status.clone().unwrap_or_default();
    let now = Timestamp::now();
    if spec.managed_by.as_deref().is_some_and(|m| m != "kubernetes.io/job-controller") {
        return Ok(None);
    }
    let namespace = job.namespace().unwrap_or_default();
    let children = owned::claim(job, &spec.selector.clone().unwrap_or_default(), all_pods, &context.api::<Pod>(&namespace)).await?;
    if has(&status, "Complete") || has(&status, "Failed") {
        for pod in children.iter().filter(|p| tracked(p)) {
            untrack(context, pod).await?;
        }
        return expire(context, job, &status, now).await;
    }
    if job.metadata.deletion_timestamp.is_some() {
        for pod in children.iter().filter(|p| tracked(p)) {
            untrack(context, pod).await?;
        }
        return Ok(None);
    }
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let suspended = spec.suspend == Some(true);
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(Time(now));
    }
    count(context, job, &mut status, &children, indexed).await?;

    let running: Vec<&Arc<Pod>> = children.iter().filter(|p| pods::active(p)).collect();
    let (mut active, failures) = (len(running.len()), status.failed.unwrap_or(0));
    let succeeded = status.succeeded.unwrap_or(0);
    let started = status.start_time.as_ref().map_or(now.as_second(), |t| t.0.as_second());
    let left = spec.active_deadline_seconds.map(|d| started + d - now.as_second());
    let limit = spec.backoff_limit.unwrap_or(6);
    let in_place = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("OnFailure");
    let restarts: i32 = running.iter().map(|p| pods::restarts(p)).sum();
    let too_often = failures > limit || (in_place && restarts > 0 && restarts >= limit);
    if !has(&status, "FailureTarget") && !has(&status, "SuccessCriteriaMet") {
        if !suspended && left.is_some_and(|l| l <= 0) {
            set(&mut status, "FailureTarget", true, "DeadlineExceeded", "Job was active longer than specified deadline");
        } else if too_often {
            set(&mut status, "FailureTarget", true, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
        } else if spec.completions.map_or(succeeded > 0 && active == 0, |c| succeeded >= c) {
            set(&mut status, "SuccessCriteriaMet", true, "CompletionsReached", "Reached expected number of succeeded pods");
        }
    }
    let mut again = left.filter(|l| *l > 0 && !suspended).map(seconds);
    if has(&status, "FailureTarget") || has(&status, "SuccessCriteriaMet") {
        // First the verdict, then the pods' end, then the end of the Job.
        let unfinished = children.iter().any(|p| !pods::finished(p));
        let uncounted = children.iter().any(|p| tracked(p));
        if unfinished || uncounted {
            write(context, job, &status, &children).await?;
            for pod in running {
                pods::delete(context, expectations, job, pod).await?;
            }
            return Ok(None);
        }
        finish(context, job, &mut status);
        write(context, job, &status, &children).await?;
        return Ok(spec.ttl_seconds_after_finished.map(|t| seconds(i64::from(t))));
    }
    let about = reference(job);
    if suspended {
        if set(&mut status, "Suspended", true, "JobSuspended", "Job suspended") {
            context.recorder.event(&about, EventType::Normal, "Suspended", "Job suspended".into());
        }
        status.start_time = None;
    } else if set(&mut status, "Suspended", false, "JobResumed", "Job resumed") {
        status.start_time = Some(Time(now));
        context.recorder.event(&about, EventType::Normal, "Resumed", "Job resumed".into());
    }
    write(context, job, &status, &children).await?;

    let parallelism = if suspended { 0 } else { spec.parallelism.unwrap_or(1) };
    let missing = plan::missing(parallelism, spec.completions, succeeded, active);
    if missing < 0 {
        let mut surplus: Vec<Arc<Pod>> = running.into_iter().cloned().collect();
        pods::by_dispensability(&mut surplus);
        for pod in surplus.into_iter().take(usize::try_from(-missing).unwrap_or(0)) {
            // Not counted as a failure: the Job itself wants it gone.
            untrack(context, &pod).await?;
            pods::delete(context, expectations, job, &pod).await?;
            active -= 1;
        }
    } else if missing > 0 {
        if let Some(wait) = backoff(&children, now) {
            again = Some(again.map_or(wait, |a| a.min(wait)));
        } else {
            let new = new_pods(job, &status, &running, missing, indexed);
            pods::create_many(context, expectations, job, new).await?;
        }
    }
    Ok(again)
}

fn len(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn seconds(n: i64) -> Duration {
    Duration::from_secs(u64::try_from(n).unwrap_or(0).max(1))
}

fn tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|f| f == TRACKING)
}

async fn untrack(context: &Context, pod: &Pod) -> Result<(), kube::Error> {
    let kept: Vec<&String> = pod.finalizers().iter().filter(|f| *f != TRACKING).collect();
    let patch = json!({"metadata": {"uid": pod.uid(), "finalizers": kept}});
    let api = context.api::<Pod>(&pod.namespace().unwrap_or_default());
    if_there(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(drop)
}

/// Notes who ended, lets them go, and then counts them.
async fn count(context: &Context, job: &Job, status: &mut JobStatus, children: &[Arc<Pod>], indexed: bool) -> Result<(), kube::Error> {
    let mut noted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let mut done = plan::parse(status.completed_indexes.as_deref().unwrap_or(""));
    let completions = job.spec.as_ref().and_then(|s| s.completions).unwrap_or(0);
    let ended: Vec<&Arc<Pod>> = children.iter().filter(|p| tracked(p) && (plan::succeeded(p) || plan::failed(p))).collect();
    for pod in &ended {
        let uid = pod.uid().unwrap_or_default();
        let list = if plan::failed(pod) {
            noted.failed.get_or_insert_default()
        } else if indexed {
            done.extend(plan::index(pod).filter(|i| *i < completions));
            continue;
        } else {
            noted.succeeded.get_or_insert_default()
        };
        if !list.contains(&uid) {
            list.push(uid);
        }
    }
    if indexed {
        status.completed_indexes = Some(plan::print(&done));
        status.succeeded = Some(len(done.len()));
    }
    status.uncounted_terminated_pods = Some(noted.clone());
    if !ended.is_empty() {
        write(context, job, status, children).await?;
        for result in futures::future::join_all(ended.iter().map(|pod| untrack(context, pod))).await {
            result?;
        }
    }
    // Whoever is noted has no finalizer any more, or is gone.
    status.failed = Some(status.failed.unwrap_or(0) + len(noted.failed.map_or(0, |f| f.len())));
    if !indexed {
        status.succeeded = Some(status.succeeded.unwrap_or(0) + len(noted.succeeded.map_or(0, |s| s.len())));
    }
    status.uncounted_terminated_pods = Some(Default::default());
    Ok(())
}

fn finish(context: &Context, job: &Job, status: &mut JobStatus) {
    let verdict = status.conditions.iter().flatten().find(|c| c.type_ == "FailureTarget").cloned();
    match verdict {
        Some(verdict) => {
            let (reason, message) = (verdict.reason.unwrap_or_default(), verdict.message.unwrap_or_default());
            set(status, "Failed", true, &reason, &message);
            context.recorder.event(&reference(job), EventType::Warning, &reason, message);
        }
        None => {
            set(status, "Complete", true, "CompletionsReached", "Reached expected number of succeeded pods");
            status.completion_time = Some(Time(Timestamp::now()));
            context.recorder.event(&reference(job), EventType::Normal, "Completed", "Job completed".into());
        }
    }
}

/// With the revision the counts were made on: a count on an old state would be wrong for good.
async fn write(context: &Context, job: &Job, status: &JobStatus, children: &[Arc<Pod>]) -> Result<(), kube::Error> {
    let mut status = status.clone();
    let over = has(&status, "Complete") || has(&status, "Failed");
    let active: Vec<_> = children.iter().filter(|p| pods::active(p) && !over).collect();
    status.active = Some(len(active.len()));
    status.ready = Some(len(active.iter().filter(|p| pods::ready(p)).count()));
    status.terminating = Some(len(children.iter().filter(|p| p.metadata.deletion_timestamp.is_some() && !pods::finished(p)).count()));
    let api = context.api::<Job>(&job.namespace().unwrap_or_default());
    let live = if_there(api.get(&job.name_any()).await)?;
    let Some(live) = live.filter(|l| l.uid() == job.uid()) else { return Ok(()) };
    if live.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": job.uid(), "resourceVersion": live.resource_version()}, "status": status});
    if_there(api.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(drop)
}

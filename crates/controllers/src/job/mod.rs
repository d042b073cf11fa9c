//! Jobs: pods that are to end well so many times. A pod carries a finalizer until it is counted, so
//! that none is counted twice or missed; `plan` has the counting.

mod make;
mod plan;
mod policy;
mod status;

use crate::Context;
use crate::context::{if_there, itself, owner};
use crate::expectations::Expectations;
use crate::{owned, pods};
use client::{Informer, Key, Queue, reference};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use plan::{FINALIZER, tracked};
use serde_json::json;
use status::End;
use std::sync::Arc;
use std::time::Duration;

const FIRST_BACKOFF: i64 = 10;
const LAST_BACKOFF: i64 = 600;
const CONTROLLER: &str = "kubernetes.io/job-controller";

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
            let Some(job) = jobs.get(&key.namespace, &key.name) else {
                // Nobody counts its pods any more.
                let of = |p: &Pod| pods::controller_of(&p.metadata).is_some_and(|o| o.kind == "Job" && o.name == key.name);
                let left: Vec<Arc<Pod>> = all_pods.list_in(&key.namespace).into_iter().filter(|p| tracked(p) && of(p)).collect();
                for pod in left {
                    untrack(&context, &pod).await?;
                }
                return Ok(None);
            };
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

async fn reconcile(
    context: &Context,
    job: &Job,
    all_pods: &Informer<Pod>,
    expectations: &Expectations,
) -> Result<Option<Duration>, kube::Error> {
    let Some(spec) = &job.spec else { return Ok(None) };
    if spec.managed_by.as_deref().is_some_and(|m| m != CONTROLLER) {
        return Ok(None);
    }
    let now = Timestamp::now();
    let api = context.api::<Pod>(&job.namespace().unwrap_or_default());
    let children = owned::claim(job, &spec.selector.clone().unwrap_or_default(), all_pods, &api).await?;
    if status::finished(job) || job.metadata.deletion_timestamp.is_some() {
        for pod in children.iter().filter(|p| tracked(p)) {
            untrack(context, pod).await?;
        }
        return expire(context, job, now).await;
    }
    let decided = status::target(job);
    let succeeding = decided.as_ref().is_some_and(|e| !e.failed);
    let tally = plan::tally(job, spec, &children, succeeding);
    let suspended = spec.suspend == Some(true);
    let started = job.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0.as_second());
    let elapsed = started.filter(|_| !suspended).map(|s| now.as_second() - s);
    let end = decided.or_else(|| {
        let failed = plan::failure(spec, &tally, elapsed).map(|why| End { failed: true, why });
        failed.or_else(|| plan::success(spec, &tally).map(|why| End { failed: false, why }))
    });
    // First the verdict, then the end of the pods, then the end of the Job.
    let over = end.is_some() && tally.active.is_empty() && tally.terminating.is_empty() && tally.nothing_uncounted();
    let new = status::compose(job, spec, &tally, end.as_ref(), over, now);
    let written = write(context, job, &new).await?;
    // Only now: their names are in the status, and their change brings this Job back.
    let released = futures::future::join_all(tally.settled.iter().map(|pod| untrack(context, pod))).await;
    released.into_iter().collect::<Result<(), _>>()?;
    if end.is_some() {
        for pod in &tally.active {
            pods::delete(context, expectations, job, pod).await?;
        }
        return Ok(None);
    }
    if !written {
        // The pods may be newer than the cached Job; what it does not count yet would be made again.
        let live = if_there(context.api::<Job>(&job.namespace().unwrap_or_default()).get(&job.name_any()).await)?;
        if live.is_none_or(|l| l.resource_version() != job.resource_version()) {
            return Ok(Some(Duration::from_secs(10)));
        }
    }
    let retry = make::adjust(context, job, spec, &tally, &children, expectations, suspended).await?;
    let deadline = spec.active_deadline_seconds.filter(|_| !suspended).map(|limit| limit - elapsed.unwrap_or(0));
    Ok(retry.into_iter().chain(deadline).min().map(seconds))
}

fn seconds(n: i64) -> Duration {
    Duration::from_secs(u64::try_from(n).unwrap_or(0).max(1))
}

/// With the revision it was counted on: a count on an old state would be wrong for good.
async fn write(context: &Context, job: &Job, new: &JobStatus) -> Result<bool, kube::Error> {
    if job.status.as_ref() == Some(new) {
        return Ok(false);
    }
    let patch = json!({"metadata": {"uid": job.uid(), "resourceVersion": job.resource_version()}, "status": status::full(new)});
    let api = context.api::<Job>(&job.namespace().unwrap_or_default());
    if if_there(api.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await)?.is_some() {
        for (kind, reason, message) in status::events(job, new) {
            context.recorder.event(&reference(job), kind, &reason, message);
        }
    }
    Ok(true)
}

async fn untrack(context: &Context, pod: &Pod) -> Result<(), kube::Error> {
    if !tracked(pod) {
        return Ok(());
    }
    let kept: Vec<&String> = pod.finalizers().iter().filter(|f| *f != FINALIZER).collect();
    let patch = json!({"metadata": {"uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": kept}});
    let api = context.api::<Pod>(&pod.namespace().unwrap_or_default());
    if_there(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(drop)
}

/// Removes a finished Job when its time is up.
async fn expire(context: &Context, job: &Job, now: Timestamp) -> Result<Option<Duration>, kube::Error> {
    let ttl = job.spec.as_ref().and_then(|s| s.ttl_seconds_after_finished);
    let (Some(ttl), Some(ended), None) = (ttl, status::ended(job), &job.metadata.deletion_timestamp) else { return Ok(None) };
    let left = ended.as_second() + i64::from(ttl) - now.as_second();
    if left > 0 {
        return Ok(Some(seconds(left)));
    }
    let preconditions = Some(Preconditions { uid: job.uid(), resource_version: job.resource_version() });
    let params = DeleteParams { preconditions, ..DeleteParams::foreground() };
    let api = context.api::<Job>(&job.namespace().unwrap_or_default());
    if_there(api.delete(&job.name_any(), &params).await).map(|_| None)
}

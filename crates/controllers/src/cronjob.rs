//! CronJobs: a Job whenever the schedule says so. The next run is a timer, not a poll.

mod schedule;

use crate::Context;
use crate::context::{code, if_there, itself, owner, said};
use crate::pods::controlled_by;
use client::{EventType, Informer, Key, Queue, reference};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use schedule::Schedule;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub async fn run(context: Context) {
    let crons = context.informers.of::<CronJob>();
    let jobs = context.informers.of::<Job>();
    tokio::join!(crons.synced(), jobs.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&crons, &queue, itself);
    context.feed(&jobs, &queue, owner("CronJob"));
    let stop = context.stop.clone();
    client::run("cronjob", queue, 2, stop, move |key: Key| {
        let (context, crons, jobs) = (context.clone(), crons.clone(), jobs.clone());
        async move {
            match crons.get(&key.namespace, &key.name) {
                Some(cron) if cron.metadata.deletion_timestamp.is_none() => reconcile(&context, &cron, &jobs).await,
                _ => Ok(None),
            }
        }
    })
    .await;
}

/// When a Job ended, and whether well.
fn ended(job: &Job) -> Option<(Timestamp, bool)> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let end = conditions.iter().find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    Some((end.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0), end.type_ == "Complete"))
}

async fn reconcile(context: &Context, cron: &CronJob, jobs: &Informer<Job>) -> Result<Option<Duration>, kube::Error> {
    let spec = &cron.spec;
    let about = reference(cron);
    let old = cron.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let own = jobs.owned_by(&cron.uid().unwrap_or_default());
    let was_active = |job: &Job| old.active.iter().flatten().any(|r| r.uid == job.uid());
    for (job, (at, good)) in own.iter().filter_map(|j| Some((j, ended(j)?))) {
        if was_active(job) {
            let word = if good { "Complete" } else { "Failed" };
            context.recorder.event(
                &about,
                EventType::Normal,
                "SawCompletedJob",
                format!("Saw completed job: {}, condition: {word}", job.name_any()),
            );
        }
        if good && new.last_successful_time.as_ref().is_none_or(|t| t.0 < at) {
            new.last_successful_time = Some(Time(at));
        }
    }
    let mut running: Vec<Arc<Job>> = own.iter().filter(|j| ended(j).is_none()).cloned().collect();
    running.sort_by_key(|j| (j.creation_timestamp().map(|t| t.0), j.name_any()));
    new.active = references(&running);
    trim(context, cron, spec, &own).await?;
    let next = start(context, cron, spec, &about, running, &mut new).await;
    if new != old {
        write(context, cron, &new).await?;
    }
    next
}

fn references(jobs: &[Arc<Job>]) -> Option<Vec<ObjectReference>> {
    (!jobs.is_empty()).then(|| jobs.iter().map(|j| reference(&**j)).collect())
}

/// Starts the run that is due, if any, and says when to look again.
async fn start(
    context: &Context,
    cron: &CronJob,
    spec: &CronJobSpec,
    about: &ObjectReference,
    running: Vec<Arc<Job>>,
    new: &mut CronJobStatus,
) -> Result<Option<Duration>, kube::Error> {
    if spec.suspend == Some(true) {
        return Ok(None);
    }
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            context.recorder.event(
                about,
                EventType::Warning,
                "UnparseableSchedule",
                format!("unparseable schedule: {:?} : {error}", spec.schedule),
            );
            return Ok(None);
        }
    };
    let now = Timestamp::now();
    let created = cron.creation_timestamp().map_or(now, |t| t.0);
    let last = new.last_schedule_time.as_ref().map_or(created, |t| t.0);
    // Half a second late, so that the minute has surely begun.
    let again = schedule
        .after(now)
        .map(|next| Duration::from_millis(u64::try_from(next.as_millisecond() - now.as_millisecond()).unwrap_or(0) + 500));
    let (due, missed) = schedule.due(last, now);
    if missed > 100 {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        context.recorder.event(about, EventType::Warning, "TooManyMissedTimes", message.into());
    }
    let Some(due) = due else { return Ok(again) };
    let late = now.as_second() - due.as_second();
    if spec.starting_deadline_seconds.is_some_and(|limit| late > limit) {
        let message = format!("Missed scheduled time to start a job: {}", due.strftime("%a, %d %b %Y %H:%M:%S +0000"));
        context.recorder.event(about, EventType::Warning, "MissSchedule", message);
        return Ok(again);
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !running.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            context.recorder.event(about, EventType::Normal, "JobAlreadyActive", message.into());
            return Ok(again);
        }
        Some("Replace") => {
            for job in &running {
                remove(context, cron, job).await?;
            }
            new.active = None;
        }
        _ => {}
    }
    let job = from_template(cron, spec, due);
    let api = context.api::<Job>(&cron.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), &job).await {
        Ok(made) => {
            context.recorder.event(about, EventType::Normal, "SuccessfulCreate", format!("Created job {}", made.name_any()));
            new.active.get_or_insert_default().push(reference(&made));
        }
        // Made in a run that did not come to write the status.
        Err(error) if code(&error) == 409 => {}
        Err(error) => {
            context.recorder.event(about, EventType::Warning, "FailedCreate", format!("Error creating job: {}", said(&error)));
            return Err(error);
        }
    }
    new.last_schedule_time = Some(Time(due));
    Ok(again)
}

/// The name is made of the time, so that one run is made once however often it is tried.
fn from_template(cron: &CronJob, spec: &CronJobSpec, due: Timestamp) -> Job {
    let given = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    let zone = spec.time_zone.as_deref().and_then(|z| k8s_openapi::jiff::tz::TimeZone::get(z).ok());
    let at = zone.map_or_else(|| due.to_string(), |z| due.to_zoned(z).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
    annotations.insert("batch.kubernetes.io/cronjob-scheduled-timestamp".into(), at);
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", cron.name_any(), due.as_second() / 60)),
            namespace: cron.namespace(),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controlled_by(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

/// Removes the oldest ended Jobs beyond the history limits.
async fn trim(context: &Context, cron: &CronJob, spec: &CronJobSpec, own: &[Arc<Job>]) -> Result<(), kube::Error> {
    for (good, limit) in [(true, spec.successful_jobs_history_limit.unwrap_or(3)), (false, spec.failed_jobs_history_limit.unwrap_or(1))] {
        let mut there: Vec<&Arc<Job>> = own.iter().filter(|j| ended(j).is_some_and(|e| e.1 == good)).collect();
        there.sort_by_key(|j| (j.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0), j.name_any()));
        let surplus = there.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for job in &there[..surplus] {
            remove(context, cron, job).await?;
        }
    }
    Ok(())
}

async fn remove(context: &Context, cron: &CronJob, job: &Job) -> Result<(), kube::Error> {
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let api = context.api::<Job>(&job.namespace().unwrap_or_default());
    if if_there(api.delete(&job.name_any(), &DeleteParams::background()).await)?.is_some() {
        context.recorder.event(&reference(cron), EventType::Normal, "SuccessfulDelete", format!("Deleted job {}", job.name_any()));
    }
    Ok(())
}

async fn write(context: &Context, cron: &CronJob, new: &CronJobStatus) -> Result<(), kube::Error> {
    let mut status = json!(new);
    if new.active.is_none() {
        status["active"] = Value::Null;
    }
    let patch = json!({"metadata": {"uid": cron.uid()}, "status": status});
    let api = context.api::<CronJob>(&cron.namespace().unwrap_or_default());
    if_there(api.patch_status(&cron.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await).map(drop)
}

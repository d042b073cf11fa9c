//! The pods of a Job: how many more or fewer, which indexes, and when.

use super::plan::{self, FAILURES, FINALIZER, INDEX, Tally, index, index_failures, indexed};
use super::policy::same_attempt;
use super::{FIRST_BACKOFF, LAST_BACKOFF, untrack};
use crate::Context;
use crate::expectations::Expectations;
use crate::pods;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Makes or removes pods. Says in how many seconds a failed one may be tried again.
pub async fn adjust(
    context: &Context,
    job: &Job,
    spec: &JobSpec,
    tally: &Tally,
    children: &[Arc<Pod>],
    expectations: &Expectations,
    suspended: bool,
) -> Result<Option<i64>, kube::Error> {
    let mut surplus: Vec<Arc<Pod>> = Vec::new();
    let mut active = tally.active.clone();
    if indexed(spec) {
        // Of two at one index, or one at an index that is done, none is needed.
        let mut taken = BTreeSet::new();
        active.sort_by_key(|p| (p.creation_timestamp().map(|t| t.0), p.name_any()));
        let fits = |p: &Pod| index(p).is_some_and(|i| i < spec.completions.unwrap_or(0) && !tally.completed.contains(&i));
        (active, surplus) = active.into_iter().partition(|p| fits(p) && taken.insert(index(p)));
    }
    let count = i32::try_from(active.len()).unwrap_or(i32::MAX);
    let wanted = if suspended { 0 } else { plan::wanted(spec, tally.successes(), tally.failed_indexes.len(), count) };
    pods::by_dispensability(&mut active);
    let excess = usize::try_from(count - wanted).unwrap_or(0);
    surplus.extend(active.drain(..excess.min(active.len())));
    for pod in &surplus {
        // Removed by us, it neither succeeded nor failed.
        untrack(context, pod).await?;
        pods::delete(context, expectations, job, pod).await?;
    }
    let held_back = if plan::only_failed(spec) { i32::try_from(tally.terminating.len()).unwrap_or(0) } else { 0 };
    let missing = wanted - count - held_back;
    if missing <= 0 || !surplus.is_empty() {
        return Ok(None);
    }
    let indexes: Vec<Option<i32>> = if indexed(spec) {
        plan::next_indexes(spec, tally, missing).into_iter().map(Some).collect()
    } else {
        (0..missing).map(|_| None).collect()
    };
    let now = Timestamp::now().as_second();
    let mut wait: Option<i64> = None;
    let mut new = Vec::new();
    for index in indexes.into_iter().take(500) {
        match left(spec, children, index, now) {
            0 => new.push(pod(job, spec, children, index)),
            left => wait = Some(wait.map_or(left, |w| w.min(left))),
        }
    }
    pods::create_many(context, expectations, job, new).await?;
    Ok(wait)
}

/// How long until the next attempt: the wait doubles with each failure since the last success.
fn left(spec: &JobSpec, children: &[Arc<Pod>], index: Option<i32>, now: i64) -> i64 {
    let ended: Vec<&Arc<Pod>> = children.iter().filter(|p| same_attempt(spec, p, index) && pods::finished(p)).collect();
    let last_good = ended.iter().filter(|p| pods::phase(p) == "Succeeded").map(|p| finish(p)).max().unwrap_or(i64::MIN);
    let bad: Vec<i64> = ended.iter().filter(|p| pods::phase(p) == "Failed").map(|p| finish(p)).filter(|t| *t > last_good).collect();
    let Some(last) = bad.iter().max() else { return 0 };
    let doubled = FIRST_BACKOFF.saturating_mul(1i64 << (bad.len() - 1).min(20));
    (last + doubled.min(LAST_BACKOFF) - now).max(0)
}

fn finish(pod: &Pod) -> i64 {
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    let ends = statuses.filter_map(|s| s.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|t| t.0.as_second()));
    ends.max().or_else(|| pod.creation_timestamp().map(|t| t.0.as_second())).unwrap_or(0)
}

fn pod(job: &Job, spec: &JobSpec, children: &[Arc<Pod>], at: Option<i32>) -> Pod {
    let mut pod = pods::from_template(job, &spec.template);
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.into());
    let Some(at) = at else { return pod };
    let name = job.name_any();
    let value = at.to_string();
    pod.metadata.generate_name = Some(pods::prefix(&format!("{name}-{at}")));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), value.clone());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), value);
    if spec.backoff_limit_per_index.is_some() {
        let failed = children.iter().filter(|p| index(p) == Some(at) && pods::phase(p) == "Failed");
        let before = failed.map(|p| index_failures(p) + 1).max().unwrap_or(0);
        annotations.insert(FAILURES.into(), before.to_string());
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{name}-{at}"));
        let source = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
        let variable = EnvVar {
            name: "JOB_COMPLETION_INDEX".into(),
            value_from: Some(EnvVarSource { field_ref: Some(source), ..EnvVarSource::default() }),
            ..EnvVar::default()
        };
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|e| e.name == variable.name) {
                env.push(variable.clone());
            }
        }
    }
    pod
}

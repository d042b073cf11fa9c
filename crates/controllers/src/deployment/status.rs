//! A Deployment's status: counts, and the conditions that `kubectl rollout status` waits for.

use super::plan::Limits;
use crate::Context;
use crate::context::if_there;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Whether the new set is all there is, and all of it works.
pub fn complete(deployment: &Deployment, new: Option<&ReplicaSet>) -> bool {
    let desired = Limits::of(deployment).desired;
    let status = deployment.status.as_ref();
    let updated = new.and_then(|s| s.status.as_ref());
    updated.is_some_and(|s| s.replicas == desired && s.available_replicas.unwrap_or(0) == desired)
        && status.is_some_and(|s| s.replicas.unwrap_or(0) == desired && s.updated_replicas.unwrap_or(0) == desired)
}

/// `all` holds every set of the Deployment but `new`.
pub async fn write(
    context: &Context,
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    all: &[Arc<ReplicaSet>],
) -> Result<Option<Duration>, kube::Error> {
    let old_status = deployment.status.clone().unwrap_or_default();
    let limits = Limits::of(deployment);
    let now = Timestamp::now();
    let sum = |count: &dyn Fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32| -> i32 {
        all.iter().chain(new).filter_map(|s| s.status.as_ref()).map(count).sum()
    };
    let replicas = sum(&|s| s.replicas);
    let ready = sum(&|s| s.ready_replicas.unwrap_or(0));
    let available = sum(&|s| s.available_replicas.unwrap_or(0));
    let terminating = sum(&|s| s.terminating_replicas.unwrap_or(0));
    let updated = new.and_then(|s| s.status.as_ref()).map_or(0, |s| s.replicas);
    let size: i32 = all.iter().chain(new).map(|s| s.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)).sum();
    let unavailable = (size.max(limits.desired) - available).max(0);
    let mut conditions = old_status.conditions.clone().unwrap_or_default();

    let minimum = limits.desired - limits.unavailable;
    let (status, reason, message) = if available >= minimum {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut conditions, "Available", status, reason, message.into(), now);

    let failure = all
        .iter()
        .chain(new)
        .filter_map(|s| s.status.as_ref())
        .flat_map(|s| s.conditions.iter().flatten())
        .find(|c| c.type_ == "ReplicaFailure");
    match failure {
        Some(c) => {
            set(&mut conditions, "ReplicaFailure", &c.status, c.reason.as_deref().unwrap_or(""), c.message.clone().unwrap_or_default(), now)
        }
        None => conditions.retain(|c| c.type_ != "ReplicaFailure"),
    }

    let again = progress(deployment, new, &mut conditions, &old_status, (replicas, updated, ready, available), now);
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(replicas),
        updated_replicas: Some(updated),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        unavailable_replicas: Some(unavailable),
        terminating_replicas: Some(terminating),
        collision_count: old_status.collision_count,
        conditions: Some(conditions),
    };
    if !same(&old_status, &status) {
        let api = context.api::<Deployment>(&deployment.namespace().unwrap_or_default());
        if_there(api.patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await)?;
    }
    Ok(again)
}

/// Sets `Progressing`, and says when to look for the deadline.
fn progress(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    conditions: &mut Vec<DeploymentCondition>,
    old: &DeploymentStatus,
    (replicas, updated, ready, available): (i32, i32, i32, i32),
    now: Timestamp,
) -> Option<Duration> {
    let spec = deployment.spec.as_ref()?;
    // The API reference: this largest value stands for "no deadline".
    let deadline = spec.progress_deadline_seconds.filter(|d| *d != i32::MAX)?;
    let known = conditions.iter().find(|c| c.type_ == "Progressing").cloned();
    if spec.paused == Some(true) {
        if known.as_ref().and_then(|c| c.reason.as_deref()) != Some("DeploymentPaused") {
            set(conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".into(), now);
        }
        return None;
    }
    if known.as_ref().and_then(|c| c.reason.as_deref()) == Some("DeploymentPaused") {
        set(conditions, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".into(), now);
    }
    let name = new.map_or_else(|| deployment.name_any(), |s| s.name_any());
    let what = if new.is_some() { "ReplicaSet" } else { "Deployment" };
    let desired = Limits::of(deployment).desired;
    if updated == desired && replicas == desired && available == desired {
        let message = format!("{what} \"{name}\" has successfully progressed.");
        set(conditions, "Progressing", "True", "NewReplicaSetAvailable", message, now);
        return None;
    }
    let moved = updated > old.updated_replicas.unwrap_or(0)
        || ready > old.ready_replicas.unwrap_or(0)
        || available > old.available_replicas.unwrap_or(0)
        || replicas < old.replicas.unwrap_or(0)
        || old.observed_generation != deployment.metadata.generation
        || known.as_ref().is_none_or(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable"));
    let last = known.as_ref().and_then(|c| c.last_update_time.as_ref()).map_or(now, |t| t.0);
    let waited = now.as_second() - last.as_second();
    if moved {
        let message = format!("{what} \"{name}\" is progressing.");
        set(conditions, "Progressing", "True", "ReplicaSetUpdated", message, now);
        if let Some(condition) = conditions.iter_mut().find(|c| c.type_ == "Progressing") {
            condition.last_update_time = Some(Time(now));
        }
        return Some(Duration::from_secs(u64::try_from(deadline).unwrap_or(600) + 1));
    }
    if waited >= i64::from(deadline) {
        let message = format!("{what} \"{name}\" has timed out progressing.");
        set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", message, now);
        return None;
    }
    Some(Duration::from_secs(u64::try_from(i64::from(deadline) - waited + 1).unwrap_or(1)))
}

/// Sets a condition; its times move only when it says something else.
fn set(conditions: &mut Vec<DeploymentCondition>, type_: &str, status: &str, reason: &str, message: String, now: Timestamp) {
    let old = conditions.iter().position(|c| c.type_ == type_);
    let mut transition = Some(Time(now));
    if let Some(i) = old {
        let known = &conditions[i];
        if known.status == status {
            if known.reason.as_deref() == Some(reason) && known.message.as_deref() == Some(&message) {
                return;
            }
            transition = known.last_transition_time.clone();
        }
    }
    let condition = DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: transition,
    };
    match old {
        Some(i) => conditions[i] = condition,
        None => conditions.push(condition),
    }
}

/// Whether two statuses say the same; zero and absent are the same number.
fn same(a: &DeploymentStatus, b: &DeploymentStatus) -> bool {
    let counts = |s: &DeploymentStatus| {
        [s.replicas, s.updated_replicas, s.ready_replicas, s.available_replicas, s.unavailable_replicas, s.terminating_replicas]
            .map(|n| n.unwrap_or(0))
    };
    counts(a) == counts(b) && a.observed_generation == b.observed_generation && a.conditions == b.conditions
}

//! Which container a request means.

use super::{Inner, Refusal};
use crate::pods::{ContainerRef, Pods, spec};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use std::sync::Arc;

pub fn pod(pods: &dyn Pods, namespace: &str, name: &str) -> Result<Arc<Pod>, Refusal> {
    pods.find(namespace, name).ok_or_else(|| Refusal::not_found(format!("pod {name:?} not found\n")))
}

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The running one; sessions need one.
pub fn running(inner: &Inner, pod: &Pod, name: &str) -> Result<ContainerRef, Refusal> {
    let found = inner.pods.container(uid(pod), name, false).filter(|c| c.running);
    found.ok_or_else(|| Refusal::internal(format!("container not found ({name:?})")))
}

/// The one whose log is wanted, or why there is none.
pub fn logged(pods: &dyn Pods, pod: &Pod, name: &str, previous: bool) -> Result<ContainerRef, Refusal> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    if pod.spec.as_ref().is_none_or(|s| spec::find(s, name).is_none()) {
        return Err(Refusal::not_found(format!("container {name:?} not found in pod {pod_name:?}\n")));
    }
    if let Some(found) = pods.container(uid(pod), name, previous) {
        return Ok(found);
    }
    if previous {
        return Err(Refusal::bad(format!("previous terminated container {name:?} in pod {pod_name:?} not found")));
    }
    let waiting = status(pod, name).and_then(|s| s.state.as_ref()).and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.clone());
    let reason = waiting.unwrap_or_else(|| "ContainerCreating".into());
    Err(Refusal::bad(format!("container {name:?} in pod {pod_name:?} is waiting to start: {reason}")))
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|s| s.name == name)
}

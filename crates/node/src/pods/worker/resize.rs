//! A resize of the pod in place: agreed with the node, carried out on running containers, told.

use super::{State, Worker};
use crate::pods::plan::Waiting;
use crate::pods::resize::{self, Shares};
use crate::pods::state::Seen;
use crate::pods::{cgroups, resources, spec};
use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// After a resize that the runtime or the kernel refused.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

pub struct Resize {
    /// What the node has agreed to.
    shares: Shares,
    /// The object as it is in the API.
    asked: Arc<Pod>,
    /// Why the node has not agreed to what is asked for.
    pub pending: Option<Waiting>,
    /// Agreed to, but not all containers have it yet.
    pub under_way: bool,
    pub error: Option<String>,
    pub retry_at: Option<Timestamp>,
    /// What running containers have, by id.
    pub has: HashMap<String, ResourceRequirements>,
}

impl Resize {
    pub fn new(pod: &Arc<Pod>) -> Self {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let told = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
        let waiting = |c: &k8s_openapi::api::core::v1::PodCondition| Waiting {
            reason: c.reason.clone().unwrap_or_default(),
            message: c.message.clone().unwrap_or_default(),
        };
        Self {
            shares: Shares::told(pod),
            asked: pod.clone(),
            pending: told("PodResizePending").map(waiting),
            under_way: told("PodResizeInProgress").is_some(),
            error: None,
            retry_at: None,
            has: HashMap::new(),
        }
    }

    pub fn agreed(&self) -> Arc<Pod> {
        self.shares.apply(self.asked.clone())
    }

    pub fn deferred(&self) -> bool {
        self.pending.as_ref().is_some_and(|p| p.reason == "Deferred")
    }
}

impl Worker {
    /// Takes a newer object over, with the resources that the node agrees to.
    pub(super) fn accept(&self, state: &mut State, pod: Arc<Pod>) {
        let over = state.finished || state.gone || pod.metadata.deletion_timestamp.is_some();
        state.resize.asked = pod.clone();
        let wanted = Shares::wanted(&pod);
        if wanted == state.resize.shares {
            state.resize.pending = None;
        } else if !over {
            self.negotiate(state, &pod, wanted);
        }
        state.pod = state.resize.agreed();
    }

    /// Others have given something back.
    pub(super) fn ask_again(&self) {
        let mut state = self.state.lock();
        let asked = state.resize.asked.clone();
        self.accept(&mut state, asked);
        drop(state);
        self.changed();
    }

    fn negotiate(&self, state: &mut State, pod: &Pod, wanted: Shares) {
        let resize = &mut state.resize;
        match self.core.allocations.take(pod) {
            Ok(()) => {
                resize.shares = wanted;
                (resize.pending, resize.error, resize.retry_at, resize.under_way) = (None, None, None, true);
                self.core.event(pod, EventType::Normal, "ResizeStarted", resize::message("started", pod, None));
            }
            Err(refusal) => {
                let reason = if refusal.never { "Infeasible" } else { "Deferred" };
                let pending = Waiting { reason: reason.into(), message: refusal.message };
                if resize.pending.as_ref() != Some(&pending) {
                    let message = resize::message(reason, pod, Some(&pending.message));
                    self.core.event(pod, EventType::Warning, &format!("Resize{reason}"), message);
                    resize.pending = Some(pending);
                }
            }
        }
    }

    /// A container that was found running has what the API was told of it.
    pub(super) fn remember(&self, state: &mut State, seen: &Seen) {
        if state.resize.has.contains_key(&seen.id) {
            return;
        }
        let Some((container, _)) = state.pod.spec.as_ref().and_then(|s| spec::find(s, &seen.name)) else { return };
        let status = state.pod.status.as_ref();
        let lists = status.into_iter().flat_map(|s| [&s.container_statuses, &s.init_container_statuses]).flatten().flatten();
        let same = lists.into_iter().any(|s| s.name == seen.name && s.container_id.as_deref().is_some_and(|id| id.ends_with(&seen.id)));
        let has = same.then(|| resize::told(&state.pod, &seen.name)).flatten().or(container.resources).unwrap_or_default();
        state.resize.has.insert(seen.id.clone(), has);
    }

    /// Room for the new before the old goes; the pod's own limits come down when all is done.
    pub fn make_room(&self, pod: &Pod) {
        if self.state.lock().resize.under_way {
            cgroups::raise(&self.core.config, pod);
        }
    }

    /// Gives running containers the resources that were agreed.
    pub async fn resize(&self, ids: &[String]) {
        if ids.is_empty() {
            return;
        }
        let pod = self.pod();
        let outcome = self.update_containers(&pod, ids).await;
        let mut state = self.state.lock();
        if let Err(error) = outcome {
            if state.resize.error.as_ref() != Some(&error) {
                self.core.event(&pod, EventType::Warning, "ResizeError", resize::message("error", &pod, Some(&error)));
            }
            state.resize.error = Some(error);
            state.resize.retry_at = Some(Timestamp::now() + AGAIN);
        } else {
            (state.resize.error, state.resize.retry_at) = (None, None);
        }
        drop(state);
        self.changed();
    }

    async fn update_containers(&self, pod: &Pod, ids: &[String]) -> Result<(), String> {
        let mut updates = self.updates(pod, ids);
        updates.sort_by_key(|(_, container, has)| {
            resize::grows(container.resources.as_ref().unwrap_or(&ResourceRequirements::default()), has)
        });
        let lower: BTreeMap<&String, (&str, i64)> = updates
            .iter()
            .filter_map(|(id, container, has)| {
                let limit = resize::new_lower_limit(container.resources.as_ref()?, has)?;
                Some((id, (container.name.as_str(), limit)))
            })
            .collect();
        if !lower.is_empty() {
            let stats = self
                .core
                .runtime
                .container_stats()
                .await
                .map_err(|e| format!("unable to read memory usage for pod {:?}: {e}", self.name))?;
            for stat in stats {
                let Some((name, limit)) = stat.attributes.as_ref().and_then(|a| lower.get(&a.id)) else { continue };
                let used = stat.memory.and_then(|m| m.usage_bytes.or(m.working_set_bytes)).map_or(0, |v| v.value);
                if i64::try_from(used).is_ok_and(|used| used >= *limit) {
                    return Err(format!(
                        "cannot decrease memory limits: attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
                    ));
                }
            }
        }
        for (id, container, _) in &updates {
            let linux = resources::of_container(pod, container, self.core.node_memory, cgroups::unified());
            self.core.runtime.update_resources(id, linux).await.map_err(|e| e.to_string())?;
            self.state.lock().resize.has.insert(id.clone(), container.resources.clone().unwrap_or_default());
        }
        Ok(())
    }

    fn updates(&self, pod: &Pod, ids: &[String]) -> Vec<(String, Container, ResourceRequirements)> {
        let state = self.state.lock();
        let one = |id: &String| {
            let seen = state.observed.running().find(|s| s.id == *id)?;
            let (container, _) = spec::find(pod.spec.as_ref()?, &seen.name)?;
            Some((id.clone(), container, state.resize.has.get(id)?.clone()))
        };
        ids.iter().filter_map(one).collect()
    }

    /// Every container has what was agreed.
    pub(super) fn complete_resize(&self, state: &mut State) {
        state.resize.under_way = false;
        cgroups::prepare(&self.core.config, &state.pod);
        self.core.event(&state.pod, EventType::Normal, "ResizeCompleted", resize::message("completed", &state.pod, None));
        self.report.notify_one();
    }
}

//! What the API is told of a pod: its status, and at last its end.

use super::{RETRY, State, Worker, newer};
use crate::pods::{spec, status};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use std::sync::Arc;

impl Worker {
    pub(super) async fn report_changes(self: Arc<Self>) {
        loop {
            self.report.notified().await;
            while !self.publish().await {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Tells the API what has changed. Returns whether there is nothing left to tell.
    pub async fn publish(&self) -> bool {
        let _one = self.publishing.lock().await;
        let (pod, status) = {
            let state = self.state.lock();
            let told = state.pod.status.as_ref();
            let terminal = told.and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed");
            let all_ended = told
                .and_then(|s| s.container_statuses.as_ref())
                .is_some_and(|l| l.iter().all(|c| c.state.as_ref().is_some_and(|s| s.terminated.is_some())));
            if state.gone || (state.relist && state.changes == 0) || (terminal && all_ended) {
                return true;
            }
            (state.pod.clone(), self.status(&state))
        };
        let Some(patch) = status::patch(&pod, &status) else { return true };
        let api: Api<Pod> = Api::namespaced(self.core.client.clone(), &self.namespace);
        match api.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Ok(pod) => {
                let mut state = self.state.lock();
                if newer(&pod, &state.pod) {
                    self.accept(&mut state, Arc::new(pod));
                }
                true
            }
            // Another pod of that name, or none: this one's status is of no interest any more.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => true,
            Err(error) => {
                tracing::debug!(pod = self.name, %error, "the status could not be written");
                false
            }
        }
    }

    fn status(&self, state: &State) -> k8s_openapi::api::core::v1::PodStatus {
        let ips = self.core.facts(&state.pod, &state.ips).pod_ips;
        // On the node's network the addresses are known before there is a sandbox, and told with it.
        let ips = if spec::host_network(&state.pod) && state.observed.sandbox().is_none() { Vec::new() } else { ips };
        let known = status::Known {
            pod: &state.pod,
            observed: &state.observed,
            health: &state.health,
            waiting: &state.waiting,
            resize: &state.resize,
            finished: state.finished,
            ended: state.ended,
            cause: state.cause.as_ref(),
            ips: &ips,
            host_ips: &self.core.config.node_ips,
            start_time: state.start_time,
            runtime: self.core.runtime_name(),
            now: Timestamp::now(),
        };
        status::status(&known)
    }

    /// The last step of a graceful deletion. Returns whether it is done.
    pub(super) async fn delete(&self) -> bool {
        if !self.publish().await {
            return false;
        }
        let api: Api<Pod> = Api::namespaced(self.core.client.clone(), &self.namespace);
        let preconditions = Some(Preconditions { uid: Some(self.uid.clone()), resource_version: None });
        let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..Default::default() };
        match api.delete(&self.name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::debug!(pod = self.name, %error, "the pod could not be deleted");
                return false;
            }
        }
        // A finalizer may keep the object; the watch tells when it goes.
        self.state.lock().released = true;
        true
    }
}

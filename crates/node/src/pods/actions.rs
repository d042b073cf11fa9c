//! What a worker does to the runtime. Everything here may take long; between two steps it looks
//! whether it is still wanted.

use super::container::{self, Making};
use super::credentials::Keyring;
use super::plan::{Blocked, Kill, Plan, Start, next_to_kill};
use super::spec;
use super::state::{Run, Sandbox, Seen};
use super::worker::{RETRY, Worker};
use super::{cgroups, env, hooks, hosts, logs, observe, sandbox, security};
use crate::cri::RuntimeError;
use crate::volumes::{Mounts, VolumeError};
use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A container that is stopped has at least so long after its hook (upstream's minimum).
const LEAST_GRACE: i64 = 2;
/// Dead containers kept per name beside the current one, for `logs --previous`.
const KEPT: usize = 1;

impl Worker {
    pub async fn carry_out(self: Arc<Self>, plan: Plan, cancel: CancellationToken) {
        self.make_room(&self.pod());
        self.resize(&plan.resize).await;
        let kills = plan.kill.iter().map(|kill| self.kill_planned(kill));
        tokio::select! {
            _ = futures::future::join_all(kills) => {}
            () = cancel.cancelled() => return,
        }
        if let Some(attempt) = plan.sandbox {
            self.make_sandbox(attempt, &cancel).await;
            return;
        }
        for start in plan.start {
            if cancel.is_cancelled() {
                return;
            }
            let began = self.start(&start, &cancel).await;
            if let Err(blocked) = began {
                self.state.lock().blocked.insert(start.name.clone(), blocked);
            }
            self.changed();
        }
    }

    async fn kill_planned(self: &Arc<Self>, kill: &Kill) {
        let pod = self.pod();
        let grace = kill.grace.or(pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds)).unwrap_or(30);
        if kill.restart {
            self.state.lock().to_restart.insert(kill.id.clone());
        }
        if self.kill(&pod, &kill.id, &kill.name, grace, &kill.message).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }

    /// `preStop`, SIGTERM, SIGKILL; then the container's end is known.
    pub async fn kill(self: &Arc<Self>, pod: &Pod, id: &str, name: &str, grace: i64, message: &str) -> Result<(), RuntimeError> {
        let seen = self.state.lock().observed.containers.iter().find(|c| c.id == id).cloned();
        let Some(seen) = seen else { return Ok(()) };
        self.core.container_event(pod, name, EventType::Normal, "Killing", message.to_string());
        let began = Timestamp::now();
        let container = pod.spec.as_ref().and_then(|s| spec::find(s, name)).map(|(c, _)| c);
        let hook = container.as_ref().and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
        if let (Some(hook), Some(container), Run::Running) = (hook, &container, seen.state) {
            let limit = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            let ip = self.pod_ip(pod);
            let ran = tokio::time::timeout(limit, hooks::run(&*self.core.runtime, id, &ip, container, hook, limit)).await;
            match ran {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    self.core.container_event(pod, name, EventType::Warning, "FailedPreStopHook", format!("PreStopHook failed: {why}"))
                }
                Err(_) => {
                    let why = format!("PreStopHook did not complete in {grace} seconds");
                    self.core.container_event(pod, name, EventType::Warning, "FailedPreStopHook", why);
                }
            }
        }
        let passed = began.duration_until(Timestamp::now()).as_secs();
        let left = if hook.is_some() { (grace - passed).max(LEAST_GRACE) } else { grace };
        match self.core.runtime.stop_container(id, left.max(1)).await {
            Ok(()) | Err(RuntimeError::NotFound(_)) => {}
            Err(error) => {
                tracing::debug!(pod = self.name, container = name, %error, "a container could not be stopped");
                return Err(error);
            }
        }
        self.stop_probes(id);
        for _ in 0..50 {
            match observe::container_of(&*self.core.runtime, &self.core.config, id, &seen.sandbox).await? {
                None => {
                    self.forget(id);
                    break;
                }
                Some(now) => {
                    let ended = now.state != Run::Running;
                    self.put(now);
                    if ended {
                        break;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn pod_ip(&self, pod: &Pod) -> String {
        let ips = self.state.lock().ips.clone();
        self.core.facts(pod, &ips).pod_ips.into_iter().next().unwrap_or_default()
    }

    /// Nothing more is begun for the pod until the delay, which grows with every failure, has passed.
    fn hold(&self, least: Duration, most: Duration) {
        let mut state = self.state.lock();
        let delay = (least * (1 << state.failures.min(10))).min(most);
        state.failures += 1;
        state.held = Some(Timestamp::now() + SignedDuration::try_from(delay).unwrap_or(SignedDuration::from_secs(1)));
        drop(state);
        self.changed();
    }

    async fn volumes(&self, pod: &Pod) -> Option<Arc<Mounts>> {
        if let Some(mounts) = self.state.lock().mounts.clone() {
            return Some(mounts);
        }
        let ips = self.state.lock().ips.clone();
        match self.core.volumes.prepare(pod, &self.core.facts(pod, &ips)).await {
            Ok(mounts) => {
                let mounts = Arc::new(mounts);
                let mut state = self.state.lock();
                state.mounts = Some(mounts.clone());
                state.failures = 0;
                // Tokens are to be renewed some day; the first round finds out when.
                state.refresh_at = Some(tokio::time::Instant::now() + Duration::from_secs(60));
                Some(mounts)
            }
            Err(VolumeError::Waiting(why)) => {
                tracing::debug!(pod = self.name, why, "volumes are not ready yet");
                if self.state.lock().failures >= 5 {
                    self.core.event(pod, EventType::Warning, "FailedAttachVolume", why);
                }
                self.hold(Duration::from_millis(200), Duration::from_secs(5));
                None
            }
            Err(error) => {
                self.core.event(pod, EventType::Warning, "FailedMount", error.to_string());
                self.hold(RETRY, Duration::from_secs(15));
                None
            }
        }
    }

    async fn make_sandbox(self: &Arc<Self>, attempt: u32, cancel: &CancellationToken) {
        let pod = self.pod();
        let config = &self.core.config;
        let old = self.state.lock().observed.sandbox().cloned();
        if let Some(old) = old {
            self.core.event(&pod, EventType::Normal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.".into());
            if let Err(error) = self.core.runtime.stop_sandbox(&old.id).await
                && !matches!(error, RuntimeError::NotFound(_))
            {
                tracing::debug!(pod = self.name, %error, "the old sandbox could not be stopped");
                self.hold(RETRY, Duration::from_secs(10));
                return;
            }
        }
        let dirs = [config.pod_dir(&self.uid), config.pod_log_dir(&self.namespace, &self.name, &self.uid)];
        if let Err(error) = dirs.iter().try_for_each(std::fs::create_dir_all) {
            let message = format!("error making pod data directories: {error}");
            self.core.event(&pod, EventType::Warning, "FailedToMakePodDataDirectories", message);
            self.hold(Duration::from_secs(1), Duration::from_secs(30));
            return;
        }
        if self.volumes(&pod).await.is_none() {
            return;
        }
        // Closed never.
        let _permit = self.core.starts.acquire().await;
        if cancel.is_cancelled() {
            return;
        }
        cgroups::prepare(config, &pod);
        let made = match self.handler(&pod).await {
            Ok(handler) => {
                self.core.runtime.run_sandbox(sandbox::config(&pod, config, attempt), &handler).await.map_err(|e| (e.to_string(), e))
            }
            Err(why) => Err((why.clone(), RuntimeError::Failed(why))),
        };
        let id = match made {
            Ok(id) => id,
            Err((why, error)) => {
                tracing::debug!(pod = self.name, why, "no sandbox");
                if !matches!(error, RuntimeError::Unavailable(_)) {
                    let message = format!("Failed to create pod sandbox: rpc error: code = Unknown desc = {why}");
                    self.core.event(&pod, EventType::Warning, "FailedCreatePodSandBox", message);
                }
                // What was left half made keeps the name.
                self.state.lock().relist = true;
                self.hold(Duration::from_secs(1), Duration::from_secs(30));
                return;
            }
        };
        self.core.index.lock().insert(id.clone(), self.uid.clone());
        match self.core.runtime.sandbox_status(&id).await {
            Ok(status) => {
                let mut state = self.state.lock();
                (state.failures, state.held) = (0, None);
                drop(state);
                self.put_sandbox(Sandbox::of(&status));
            }
            Err(error) => {
                tracing::debug!(pod = self.name, %error, "the new sandbox has no status");
                self.relist();
            }
        }
    }

    async fn handler(&self, pod: &Pod) -> Result<String, String> {
        let Some(class) = pod.spec.as_ref().and_then(|s| s.runtime_class_name.as_deref()).filter(|c| !c.is_empty()) else {
            return Ok(String::new());
        };
        match Api::<RuntimeClass>::all(self.core.client.clone()).get_opt(class).await {
            Ok(Some(class)) => Ok(class.handler),
            Ok(None) => Err(format!("unable to get RuntimeClass {class:?}: RuntimeClass.node.k8s.io {class:?} not found")),
            Err(error) => Err(format!("unable to get RuntimeClass {class:?}: {error}")),
        }
    }

    async fn start(self: &Arc<Self>, start: &Start, cancel: &CancellationToken) -> Result<(), Blocked> {
        let pod = self.pod();
        let core = &self.core;
        let Some((container, role)) = pod.spec.as_ref().and_then(|s| spec::find(s, &start.name)) else { return Ok(()) };
        let sandbox = self.state.lock().observed.sandbox().cloned();
        let Some(sandbox) = sandbox else { return Ok(()) };
        let name = container.name.as_str();
        let Some(mounts) = self.volumes(&pod).await else { return Ok(()) };
        let sandbox_config = sandbox::config(&pod, &core.config, sandbox.attempt);
        let tell = |kind: EventType, reason: &str, message: String| core.container_event(&pod, name, kind, reason, message);
        let (keyring, absent) = Keyring::of(&pod, &core.objects).await;
        if !absent.is_empty() {
            let names = absent.join(", ");
            let message = format!("Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed.");
            core.event(&pod, EventType::Warning, "FailedToRetrieveImagePullSecret", message);
        }
        let image = tokio::select! {
            image = core.images.ensure(&container, &keyring, sandbox_config.clone(), &self.uid, &tell) => image,
            () = cancel.cancelled() => return Ok(()),
        };
        let image = image.inspect_err(|blocked| tell(EventType::Warning, "Failed", format!("Error: {}", blocked.reason)))?;
        let config_error = |message: String| {
            tell(EventType::Warning, "Failed", format!("Error: {message}"));
            blocked("CreateContainerConfigError", message, 5)
        };
        security::verify_user(&pod, &container, &image).map_err(config_error)?;
        let facts = core.facts(&pod, &self.state.lock().ips.clone());
        let environment = env::environment(&pod, &container, &facts, &core.objects, &core.services).await.map_err(config_error)?;
        // Closed never.
        let _permit = core.starts.acquire().await;
        if cancel.is_cancelled() {
            return Ok(());
        }
        let target = self.target(&pod, name);
        let hosts_file = match hosts::write(&pod, &core.config, &facts.pod_ips) {
            Ok(path) => (!facts.pod_ips.is_empty()).then_some(path),
            Err(error) => return Err(config_error(format!("failed to write the hosts file: {error}"))),
        };
        let making = Making {
            pod: &pod,
            config: &core.config,
            container: &container,
            role,
            attempt: start.attempt,
            image: &image.id,
            env: &environment,
            mounts: &mounts,
            hosts_file: hosts_file.as_deref(),
            target: target.as_deref(),
            node_memory: core.node_memory,
        };
        let config = container::config(&making).map_err(config_error)?;
        let created = core.runtime.create_container(&sandbox.id, config, sandbox_config).await;
        let id = match created {
            Ok(id) => id,
            Err(RuntimeError::Unavailable(_)) => {
                self.hold(RETRY, Duration::from_secs(5));
                return Ok(());
            }
            Err(error) => {
                // A container of an interrupted attempt may hold the name.
                self.state.lock().relist = true;
                tell(EventType::Warning, "Failed", format!("Error: {error}"));
                return Err(blocked("CreateContainerError", error.to_string(), 5));
            }
        };
        core.index.lock().insert(id.clone(), self.uid.clone());
        self.state.lock().resize.has.insert(id.clone(), container.resources.clone().unwrap_or_default());
        tell(EventType::Normal, "Created", "Container created".into());
        let started = core.runtime.start_container(&id).await;
        let seen = observe::container_of(&*core.runtime, &core.config, &id, &sandbox.id).await;
        {
            let mut state = self.state.lock();
            state.blocked.remove(name);
            let before: Vec<String> = state.observed.containers.iter().filter(|c| c.name == name).map(|c| c.id.clone()).collect();
            for id in &before {
                state.to_restart.remove(id);
            }
        }
        match started {
            Ok(()) => tell(EventType::Normal, "Started", "Container started".into()),
            Err(error) => {
                tell(EventType::Warning, "Failed", format!("Error: {error}"));
                if let Ok(Some(seen)) = seen {
                    self.put(seen);
                }
                self.count(start);
                return Err(blocked("RunContainerError", error.to_string(), 0));
            }
        }
        let seen = match seen {
            Ok(Some(seen)) => seen,
            other => {
                tracing::debug!(pod = self.name, ?other, "a container that was started has no status");
                self.relist();
                return Ok(());
            }
        };
        logs::link(&core.config, &self.namespace, &self.name, name, &id, Path::new(&seen.log_path));
        let hooked = container.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some());
        if !hooked && seen.state == Run::Running {
            // Before the run is told of, so that a pod without probes is ready with the same report.
            self.tend(&seen);
        }
        self.put(seen.clone());
        self.count(start);
        self.after_start(&pod, &container, seen, cancel).await;
        self.collect(name).await;
        Ok(())
    }

    /// The hook comes before the probes and before the next container.
    async fn after_start(self: &Arc<Self>, pod: &Pod, container: &Container, seen: Seen, cancel: &CancellationToken) {
        let hook = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()).filter(|_| seen.state == Run::Running);
        if let Some(hook) = hook {
            let ip = self.pod_ip(pod);
            let ran = tokio::select! {
                ran = hooks::run(&*self.core.runtime, &seen.id, &ip, container, hook, Duration::ZERO) => ran,
                () = cancel.cancelled() => return,
            };
            if let Err(why) = ran {
                self.core.container_event(
                    pod,
                    &container.name,
                    EventType::Warning,
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {why}"),
                );
                let grace = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
                // A failure is seen as a container that still runs, and repaired by the next plan.
                let _ = self.kill(pod, &seen.id, &container.name, grace, "FailedPostStartHook").await;
                return;
            }
        }
        if seen.state == Run::Running {
            self.tend(&seen);
        }
        self.changed();
    }

    /// The next start waits longer. Counted once the new run is known: before, the last one would seem to
    /// wait already.
    fn count(&self, start: &Start) {
        if let Some(after) = start.after {
            self.state.lock().backoff.next(&start.name, after, Timestamp::now());
        }
    }

    /// Id of the container whose processes an ephemeral container sees.
    fn target(&self, pod: &Pod, name: &str) -> Option<String> {
        let ephemeral = pod.spec.as_ref()?.ephemeral_containers.as_ref()?.iter().find(|c| c.name == name)?;
        let target = ephemeral.target_container_name.as_deref().filter(|t| !t.is_empty())?;
        self.state.lock().observed.current(target).map(|s| s.id.clone())
    }

    /// Removes what is left of earlier runs, but for the last.
    async fn collect(self: &Arc<Self>, name: &str) {
        let dead: Vec<Seen> = {
            let state = self.state.lock();
            state.observed.containers.iter().filter(|c| c.name == name && c.state == Run::Exited).cloned().collect()
        };
        for seen in dead.into_iter().skip(KEPT) {
            if self.core.runtime.remove_container(&seen.id).await.is_ok() {
                logs::remove(Path::new(&seen.log_path));
                logs::unlink(&self.core.config, &self.namespace, &self.name, name, &seen.id);
                self.forget(&seen.id);
            }
        }
        let idle: Vec<String> = {
            let state = self.state.lock();
            let used = |id: &str| state.observed.containers.iter().any(|c| c.sandbox == id);
            state.observed.sandboxes.iter().skip(1).filter(|s| !s.ready && !used(&s.id)).map(|s| s.id.clone()).collect()
        };
        for id in idle {
            if self.core.runtime.remove_sandbox(&id).await.is_ok() {
                self.forget(&id);
            }
        }
    }

    /// Ends all containers, then the sandbox, then what was mounted.
    pub async fn end(self: Arc<Self>) {
        let pod = self.pod();
        let Some(spec) = pod.spec.as_ref() else { return };
        loop {
            let (batch, until) = {
                let state = self.state.lock();
                let batch: Vec<Seen> = next_to_kill(spec, &state.observed).into_iter().cloned().collect();
                (batch, state.kill_until)
            };
            if batch.is_empty() {
                break;
            }
            let left = until.map_or(30, |at| Timestamp::now().duration_until(at).as_millis().saturating_add(999) / 1000);
            let grace = i64::try_from(left).unwrap_or(i64::MAX).max(1);
            let kills = batch.iter().map(|seen| {
                let message = format!("Stopping container {}", seen.name);
                let (this, pod) = (self.clone(), pod.clone());
                async move { this.kill(&pod, &seen.id, &seen.name, grace, &message).await }
            });
            if futures::future::join_all(kills).await.iter().any(Result::is_err) {
                tokio::time::sleep(RETRY).await;
            }
        }
        self.changed();
        let sandboxes: Vec<Sandbox> = self.state.lock().observed.sandboxes.clone();
        for mut sandbox in sandboxes {
            loop {
                match self.core.runtime.stop_sandbox(&sandbox.id).await {
                    Ok(()) | Err(RuntimeError::NotFound(_)) => break,
                    Err(error) => {
                        tracing::debug!(pod = self.name, %error, "a sandbox could not be stopped");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
            sandbox.ready = false;
            self.put_sandbox(sandbox);
        }
        while let Err(error) = self.core.volumes.teardown(&self.uid).await {
            tracing::warn!(pod = self.name, namespace = self.namespace, %error, "volumes could not be taken down, will retry");
            tokio::time::sleep(RETRY * 2).await;
        }
        cgroups::remove(&self.core.config, &self.uid);
        self.mark_ended();
    }

    /// The object is gone, and nothing runs: nothing is to remind of the pod.
    pub async fn remove_all(self: Arc<Self>) {
        let observed = self.state.lock().observed.clone();
        for seen in &observed.containers {
            // What cannot be removed now is found as an orphan later.
            if let Err(error) = self.core.runtime.remove_container(&seen.id).await {
                tracing::debug!(pod = self.name, %error, "a container could not be removed");
            }
            logs::unlink(&self.core.config, &self.namespace, &self.name, &seen.name, &seen.id);
        }
        for sandbox in &observed.sandboxes {
            if let Err(error) = self.core.runtime.remove_sandbox(&sandbox.id).await {
                tracing::debug!(pod = self.name, %error, "a sandbox could not be removed");
            }
        }
        let _ = std::fs::remove_dir_all(self.core.config.pod_log_dir(&self.namespace, &self.name, &self.uid));
        self.core.index.lock().retain(|_, uid| *uid != self.uid);
    }
}

fn blocked(reason: &str, message: String, seconds: i64) -> Blocked {
    Blocked { reason: reason.into(), message, until: Timestamp::now() + SignedDuration::from_secs(seconds) }
}

//! The agent put together.

use crate::config::Config;
use crate::cri::Runtime;
use crate::garbage;
use crate::objects::Objects;
use crate::pods::{Manager, Pods};
use crate::status::{self, Reporter};
use crate::volumes::{Claims, PodVolumes};
use client::{Informers, Recorder};
use k8s_openapi::api::core::v1::{Pod, Service};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub struct Node {
    manager: Arc<Manager>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Starts everything; it ends with `stop`, and leaves all containers as they are.
    pub fn start(
        config: Config,
        informers: &Informers,
        runtime: Arc<dyn Runtime>,
        claims: Arc<dyn Claims>,
        stop: CancellationToken,
    ) -> Self {
        let config = Arc::new(config);
        if let Err(error) = std::fs::create_dir_all(&config.root_dir) {
            tracing::error!(%error, dir = %config.root_dir.display(), "the agent's directory cannot be made");
        }
        let client = informers.client();
        let (refresh, refreshes) = mpsc::unbounded_channel();
        let (finished, finishes) = mpsc::unbounded_channel();
        let objects = Objects::new(client.clone(), refresh);
        let volumes = PodVolumes::new(config.clone(), client.clone(), objects.clone(), claims);
        let recorder = Recorder::new(client.clone(), "kubelet", &config.node_name);
        let core = crate::pods::core(
            config.clone(),
            client.clone(),
            runtime.clone(),
            recorder,
            objects,
            Arc::new(volumes),
            informers.of::<Service>(),
            finished,
        );
        let manager = Manager::new(core);
        let pods = informers.selected::<Pod>(None, Some(&format!("spec.nodeName={}", config.node_name)));
        let mut tasks = JoinSet::new();
        tasks.spawn(manager.clone().run(pods, refreshes, finishes, stop.clone()));
        let reporter = Reporter { config: config.clone(), client: client.clone(), runtime: runtime.clone() };
        tasks.spawn(status::report(reporter, manager.runtime_state(), stop.clone()));
        tasks.spawn(status::heartbeat(client, config.node_name.clone(), stop.clone()));
        tasks.spawn(garbage::run(config, runtime, manager.clone(), stop));
        Self { manager, tasks }
    }

    pub fn pods(&self) -> Arc<dyn Pods> {
        self.manager.clone()
    }

    /// Returns once everything has ended.
    pub async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

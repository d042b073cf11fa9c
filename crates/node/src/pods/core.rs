//! What all pod workers share.

use super::allocation::Allocations;
use super::images::Images;
use crate::config::Config;
use crate::cri::Runtime;
use crate::fields::Facts;
use crate::objects::Objects;
use crate::volumes::Volumes;
use client::requests::Amounts;
use client::{EventType, Informer, Recorder, reference};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;
use meta::quantity::Quantity;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, mpsc};

pub struct Core {
    pub config: Arc<Config>,
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
    pub recorder: Recorder,
    pub objects: Objects,
    pub volumes: Arc<dyn Volumes>,
    pub services: Informer<Service>,
    pub images: Images,
    pub allocatable: BTreeMap<String, Quantity>,
    pub node_memory: i64,
    pub allocations: Allocations,
    /// Sandboxes and containers being made at once: each is a handful of processes.
    pub starts: Semaphore,
    /// Pod uids by the ids of their sandboxes and containers.
    pub index: Mutex<HashMap<String, String>>,
    /// Name of the runtime, the scheme of container ids.
    pub runtime_name: OnceLock<String>,
    /// Uids of pods whose worker has come to its end.
    pub finished: mpsc::UnboundedSender<String>,
}

impl Core {
    pub fn facts(&self, pod: &Pod, ips: &[String]) -> Facts {
        let host_ips = self.config.node_ips.clone();
        let pod_ips = if super::spec::host_network(pod) { host_ips.iter().map(ToString::to_string).collect() } else { ips.to_vec() };
        Facts { pod_ips, host_ips, allocatable: self.allocatable.clone() }
    }

    pub fn runtime_name(&self) -> &str {
        self.runtime_name.get().map_or("containerd", String::as_str)
    }

    pub fn event(&self, pod: &Pod, kind: EventType, reason: &str, message: String) {
        self.recorder.event(&reference(pod), kind, reason, message);
    }

    /// An event that names one container of the pod.
    pub fn container_event(&self, pod: &Pod, container: &str, kind: EventType, reason: &str, message: String) {
        let mut object = reference(pod);
        let spec = pod.spec.as_ref();
        let list = match spec.and_then(|s| super::spec::find(s, container)).map(|(_, role)| role) {
            Some(super::spec::Role::Init | super::spec::Role::Sidecar) => "initContainers",
            Some(super::spec::Role::Ephemeral) => "ephemeralContainers",
            _ => "containers",
        };
        object.field_path = Some(format!("spec.{list}{{{container}}}"));
        self.recorder.event(&object, kind, reason, message);
    }
}

#[allow(clippy::too_many_arguments)]
pub fn core(
    config: Arc<Config>,
    client: Client,
    runtime: Arc<dyn Runtime>,
    recorder: Recorder,
    objects: Objects,
    volumes: Arc<dyn Volumes>,
    services: Informer<Service>,
    finished: mpsc::UnboundedSender<String>,
) -> Arc<Core> {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let allocatable = crate::status::machine::allocatable(&config);
    let figure = |(name, q): (&String, &Quantity)| (name.clone(), if name == "cpu" { q.milli_value() } else { q.value() });
    Arc::new(Core {
        allocations: Allocations::new(Amounts(allocatable.iter().map(figure).collect())),
        allocatable,
        node_memory: crate::status::machine::memory(),
        images: Images::new(runtime.clone()),
        starts: Semaphore::new((processors * 3).max(4)),
        index: Mutex::default(),
        runtime_name: OnceLock::new(),
        config,
        client,
        runtime,
        recorder,
        objects,
        volumes,
        services,
        finished,
    })
}

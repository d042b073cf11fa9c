//! Registers the node and keeps its status current: at once when the runtime comes or goes, every few
//! minutes otherwise.

use super::conditions;
use super::machine::{self, Amounts};
use crate::config::Config;
use crate::cri::Runtime;
use crate::pods::RuntimeState;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const REPORT: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_secs(10);
/// How long the runtime may take to be heard of first, before the node is told to be not ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// While the node is not ready something is about to change.
const LOOK_SOON: Duration = Duration::from_millis(100);
const MOST_IMAGES: usize = 50;

pub struct Reporter {
    pub config: Arc<Config>,
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
}

pub async fn run(reporter: Reporter, mut runtime: watch::Receiver<RuntimeState>, stop: CancellationToken) {
    let nodes: Api<Node> = Api::all(reporter.client.clone());
    while let Err(error) = reporter.register(&nodes).await {
        tracing::debug!(%error, "the node was not registered");
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_SOON)).await.is_none() {
            return;
        }
    }
    let mut told: Option<Told> = None;
    let mut waits = 0u32;
    loop {
        let known = runtime.wait_for(Option::is_some);
        let state = match stop.run_until_cancelled(tokio::time::timeout(PATIENCE, known)).await {
            Some(Ok(Ok(state))) => state.clone(),
            Some(Err(_)) => None,
            None | Some(Ok(Err(_))) => return,
        };
        let state = state.unwrap_or_else(|| Err("container runtime status check may not have completed yet".to_string()));
        let now = reporter.look(state).await;
        let ready = now.ready.is_ok();
        if told.as_ref().is_none_or(|t| t.differs(&now) || t.at.elapsed() >= REPORT) {
            match reporter.tell(&nodes, &now).await {
                Ok(()) => told = Some(now),
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    // Somebody has deleted the node; it is still here.
                    if let Err(error) = reporter.register(&nodes).await {
                        tracing::debug!(%error, "the node was not registered");
                    }
                    told = None;
                }
                Err(error) => tracing::debug!(%error, "the node's status was not written"),
            }
        }
        waits = if ready { 0 } else { waits + 1 };
        let wait = match (&told, ready) {
            (None, _) => LOOK_SOON * 5,
            (Some(_), false) => (LOOK_SOON * waits).min(LOOK),
            _ => LOOK,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = runtime.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

struct Told {
    ready: Result<(), String>,
    version: String,
    images: Vec<ContainerImage>,
    conditions: Vec<NodeCondition>,
    at: Instant,
}

impl Told {
    fn differs(&self, other: &Self) -> bool {
        let plain = |list: &[NodeCondition]| list.iter().map(|c| (c.status.clone(), c.message.clone())).collect::<Vec<_>>();
        self.version != other.version
            || self.images != other.images
            || plain(&self.conditions) != plain(&other.conditions)
            || self.ready != other.ready
    }
}

impl Reporter {
    async fn look(&self, state: Result<(), String>) -> Told {
        let answer = match state {
            Ok(()) => self.runtime.status().await.map_err(|e| e.to_string()),
            Err(why) => Err(why),
        };
        let ready = conditions::obstacle(answer);
        let version = match self.runtime.version().await {
            Ok(v) => format!("{}://{}", v.runtime_name, v.runtime_version),
            Err(_) => "containerd://Unknown".to_string(),
        };
        let mut images: Vec<ContainerImage> = match self.runtime.list_images().await {
            Ok(list) => list
                .into_iter()
                .filter(|i| !i.repo_tags.is_empty() || !i.repo_digests.is_empty())
                .map(|i| ContainerImage {
                    names: Some(i.repo_digests.into_iter().chain(i.repo_tags).collect()),
                    size_bytes: i64::try_from(i.size).ok(),
                })
                .collect(),
            Err(_) => Vec::new(),
        };
        images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
        images.truncate(MOST_IMAGES);
        let conditions = conditions::all(&self.config, &ready, &[], &Time(whole_now()));
        Told { ready, version, images, conditions, at: Instant::now() }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            ("kubernetes.io/hostname".to_string(), self.config.node_name.clone()),
            ("kubernetes.io/os".to_string(), "linux".to_string()),
            ("kubernetes.io/arch".to_string(), machine::architecture().to_string()),
            ("beta.kubernetes.io/os".to_string(), "linux".to_string()),
            ("beta.kubernetes.io/arch".to_string(), machine::architecture().to_string()),
        ]);
        labels.extend(self.config.labels.clone());
        labels
    }

    async fn register(&self, nodes: &Api<Node>) -> kube::Result<()> {
        let config = &self.config;
        let labels = self.labels();
        if let Some(node) = nodes.get_opt(&config.node_name).await? {
            let missing = labels.iter().any(|(k, v)| node.labels().get(k) != Some(v))
                || config.annotations.iter().any(|(k, v)| node.annotations().get(k) != Some(v));
            let no_range = node.spec.as_ref().and_then(|s| s.pod_cidr.as_ref()).is_none() && config.pod_cidr.is_some();
            if missing || no_range {
                let mut patch = serde_json::json!({"metadata": {"labels": labels, "annotations": config.annotations}});
                if no_range {
                    patch["spec"] = serde_json::json!({"podCIDR": config.pod_cidr, "podCIDRs": [config.pod_cidr]});
                }
                if let Err(error) = nodes.patch(&config.node_name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                    tracing::warn!(%error, "the labels of the node could not be brought up to date");
                }
            }
            return Ok(());
        }
        let spec = NodeSpec {
            pod_cidr: config.pod_cidr.clone(),
            pod_cidrs: config.pod_cidr.clone().map(|c| vec![c]),
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..Default::default()
        };
        let node = Node {
            metadata: ObjectMeta {
                name: Some(config.node_name.clone()),
                labels: Some(labels),
                annotations: (!config.annotations.is_empty()).then(|| config.annotations.clone()),
                ..Default::default()
            },
            spec: Some(spec),
            // A server that takes no status here is told with the first report.
            status: None,
        };
        match nodes.create(&PostParams::default(), &node).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn tell(&self, nodes: &Api<Node>, now: &Told) -> kube::Result<()> {
        let config = &self.config;
        let node = nodes.get(&config.node_name).await?;
        let before = node.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        let mut addresses: Vec<NodeAddress> =
            config.node_ips.iter().map(|ip| NodeAddress { type_: "InternalIP".into(), address: ip.to_string() }).collect();
        addresses.push(NodeAddress { type_: "Hostname".into(), address: config.node_name.clone() });
        let status = NodeStatus {
            addresses: Some(addresses),
            capacity: Some(quantities(machine::capacity(config))),
            allocatable: Some(quantities(machine::allocatable(config))),
            conditions: Some(conditions::all(config, &now.ready, &before, &Time(whole_now()))),
            daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.api_port) }) }),
            images: Some(now.images.clone()),
            node_info: Some(machine::info(config, &now.version)),
            ..Default::default()
        };
        let patch = serde_json::json!({"status": status});
        nodes.patch_status(&config.node_name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
        Ok(())
    }
}

fn whole_now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn quantities(amounts: Amounts) -> BTreeMap<String, ApiQuantity> {
    amounts.into_iter().map(|(name, amount)| (name, ApiQuantity(amount.to_string()))).collect()
}

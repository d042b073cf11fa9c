//! The local-disk provisioner: a claim of its class becomes a directory on the node its first consumer
//! was placed on, and a volume bound to that node.

mod directory;
mod provision;
mod reclaim;

use client::{Change, Informer, Informers, Key, Queue, Recorder};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub const PROVISIONER: &str = "socle.dev/local";

const HOSTNAME: &str = "kubernetes.io/hostname";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

pub struct Config {
    pub node_name: String,
    /// Holds a directory per volume.
    pub root: PathBuf,
    pub informers: Informers,
    pub recorder: Recorder,
    pub stop: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("volume directory: {0}")]
    Disk(#[from] std::io::Error),
    #[error("a disk task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

struct Provisioner {
    config: Config,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
}

/// The class a cluster starts with.
pub fn default_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": false,
    })
}

/// Makes and removes this node's volumes until `stop`.
pub async fn run(config: Config) {
    let informers = config.informers.clone();
    let stop = config.stop.clone();
    let provisioner =
        Arc::new(Provisioner { claims: informers.of(), volumes: informers.of(), classes: informers.of(), nodes: informers.of(), config });
    let synced = async {
        tokio::join!(provisioner.claims.synced(), provisioner.volumes.synced(), provisioner.classes.synced(), provisioner.nodes.synced())
    };
    if stop.run_until_cancelled(synced).await.is_none() {
        return;
    }
    provisioner.report_orphans().await;
    let (claims, volumes) = (Queue::new(), Queue::new());
    feed(&provisioner.claims, &claims);
    feed(&provisioner.volumes, &volumes);
    let (making, removing) = (provisioner.clone(), provisioner);
    tokio::join!(
        client::run("local-provision", claims, 2, stop.clone(), move |key: Key| {
            let provisioner = making.clone();
            async move { provisioner.provision(&key).await }
        }),
        client::run("local-reclaim", volumes, 2, stop, move |key: Key| {
            let provisioner = removing.clone();
            async move { provisioner.reclaim(&key).await }
        }),
    );
}

fn feed<K: client::Object>(informer: &Informer<K>, queue: &Queue<Key>) {
    let (mut changes, queue) = (informer.changes(), queue.clone());
    tokio::spawn(async move {
        while let Some(Change { new, .. }) = changes.recv().await {
            if let Some(object) = new {
                queue.add(Key::of(&*object));
            }
        }
    });
}

impl Provisioner {
    /// What this node's volumes ask of a node; `None` before the node has registered.
    fn hostname(&self) -> Option<String> {
        let node = self.nodes.get("", &self.config.node_name)?;
        Some(node.labels().get(HOSTNAME).cloned().unwrap_or_else(|| self.config.node_name.clone()))
    }

    /// A directory that nothing names may still be somebody's data: it is reported, never removed.
    async fn report_orphans(&self) {
        let root = self.config.root.clone();
        let names = match tokio::task::spawn_blocking(move || directory::names(&root)).await {
            Ok(Ok(names)) => names,
            Ok(Err(error)) => return tracing::warn!(%error, "the volume directories cannot be listed"),
            Err(error) => return tracing::warn!(%error, "the volume directories cannot be listed"),
        };
        for name in names {
            let uid = name.strip_prefix(directory::PREFIX).unwrap_or_default();
            if self.volumes.get("", &name).is_none() && self.claims.by_uid(uid).is_none() {
                let path = self.config.root.join(&name);
                tracing::warn!(path = %path.display(), "volume directory belongs to no volume and no claim; it is left alone");
            }
        }
    }
}

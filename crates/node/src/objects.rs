//! The ConfigMaps and Secrets that pods of this node refer to. A node may read only those, each by
//! name (the Node authorizer's rule), so every object has a watch of its own, shared by the pods that
//! use it and ended with the last of them.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Volume};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::mpsc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Which {
    ConfigMap,
    Secret,
}

type Name = (Which, String, String);

struct Followed {
    pods: HashSet<String>,
    task: tokio::task::AbortHandle,
}

#[derive(Clone)]
pub struct Objects {
    client: Client,
    inner: Arc<Inner>,
}

struct Inner {
    followed: Mutex<HashMap<Name, Followed>>,
    /// The version that was handed out last; a watch that begins later tells what has changed since.
    seen: Mutex<HashMap<Name, String>>,
    changed: mpsc::UnboundedSender<String>,
}

impl Objects {
    /// `changed` is told the uids of the pods whose volumes are to be written again.
    pub fn new(client: Client, changed: mpsc::UnboundedSender<String>) -> Self {
        Self { client, inner: Arc::new(Inner { followed: Mutex::default(), seen: Mutex::default(), changed }) }
    }

    pub async fn config_map(&self, namespace: &str, name: &str) -> kube::Result<Option<ConfigMap>> {
        self.read(Which::ConfigMap, namespace, name).await
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Secret>> {
        self.read(Which::Secret, namespace, name).await
    }

    async fn read<K>(&self, which: Which, namespace: &str, name: &str) -> kube::Result<Option<K>>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let object: Option<K> = Api::namespaced(self.client.clone(), namespace).get_opt(name).await?;
        let version = object.as_ref().and_then(|o| o.resource_version()).unwrap_or_default();
        let key = (which, namespace.to_string(), name.to_string());
        let mut seen = self.inner.seen.lock();
        if self.inner.followed.lock().contains_key(&key) || seen.len() < 4096 {
            seen.insert(key, version);
        }
        Ok(object)
    }

    /// Watches what the volumes of the pod are made of.
    pub fn follow(&self, pod: &Pod) {
        let (Some(namespace), Some(uid)) = (pod.namespace(), pod.uid()) else { return };
        for (which, name) in referred(pod) {
            let key = (which, namespace.clone(), name);
            let mut followed = self.inner.followed.lock();
            let entry = followed.entry(key.clone()).or_insert_with(|| {
                let inner = Arc::downgrade(&self.inner);
                let task = match which {
                    Which::ConfigMap => tokio::spawn(watch::<ConfigMap>(self.client.clone(), key, inner)),
                    Which::Secret => tokio::spawn(watch::<Secret>(self.client.clone(), key, inner)),
                };
                Followed { pods: HashSet::new(), task: task.abort_handle() }
            });
            entry.pods.insert(uid.clone());
        }
    }

    pub fn unfollow(&self, uid: &str) {
        let mut gone = Vec::new();
        self.inner.followed.lock().retain(|key, followed| {
            followed.pods.remove(uid);
            if followed.pods.is_empty() {
                followed.task.abort();
                gone.push(key.clone());
            }
            !followed.pods.is_empty()
        });
        let mut seen = self.inner.seen.lock();
        for key in gone {
            seen.remove(&key);
        }
    }
}

async fn watch<K>(client: Client, key: Name, inner: std::sync::Weak<Inner>)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client, &key.1);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", key.2));
    let mut stream = watcher(api, config).boxed();
    while let Some(event) = stream.next().await {
        let version = match event {
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => object.resource_version().unwrap_or_default(),
            // A deleted object leaves what was written in place, as upstream does.
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, namespace = key.1, name = key.2, "watch of a volume's object interrupted");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                continue;
            }
        };
        let Some(inner) = inner.upgrade() else { return };
        if inner.seen.lock().get(&key) == Some(&version) {
            continue;
        }
        let pods: Vec<String> = inner.followed.lock().get(&key).map(|f| f.pods.iter().cloned().collect()).unwrap_or_default();
        for uid in pods {
            // The receiver ends with the agent.
            let _ = inner.changed.send(uid);
        }
    }
}

/// The objects that the pod's volumes are written from.
fn referred(pod: &Pod) -> BTreeSet<(Which, String)> {
    let mut names = BTreeSet::new();
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        add(volume, &mut names);
    }
    names
}

fn add(volume: &Volume, names: &mut BTreeSet<(Which, String)>) {
    if let Some(source) = &volume.config_map {
        names.insert((Which::ConfigMap, source.name.clone()));
    }
    if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.clone()) {
        names.insert((Which::Secret, name));
    }
    for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        if let Some(map) = &source.config_map {
            names.insert((Which::ConfigMap, map.name.clone()));
        }
        if let Some(secret) = &source.secret {
            names.insert((Which::Secret, secret.name.clone()));
        }
    }
}

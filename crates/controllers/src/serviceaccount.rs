//! What every namespace has from the start: a ServiceAccount `default`, and the cluster's CA in a
//! ConfigMap, so that its pods can tell the API server from another.

use crate::Context;
use crate::context::code;
use client::{Change, Key, Queue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::Resource;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;

const ACCOUNT: &str = "default";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const CA_KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
     service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

pub async fn run(context: Context) {
    let namespaces = context.informers.of::<Namespace>();
    let accounts = context.informers.of::<ServiceAccount>();
    let maps = context.informers.of::<ConfigMap>();
    tokio::join!(namespaces.synced(), accounts.synced(), maps.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&namespaces, &queue, named);
    context.feed(&accounts, &queue, |change: &Change<ServiceAccount>| of(change, ACCOUNT));
    context.feed(&maps, &queue, |change: &Change<ConfigMap>| of(change, CONFIG_MAP));
    let stop = context.stop.clone();
    client::run("serviceaccount", queue, 2, stop, move |key: Key| {
        let (context, namespaces, accounts, maps) = (context.clone(), namespaces.clone(), accounts.clone(), maps.clone());
        async move {
            let going = |n: &Namespace| n.metadata.deletion_timestamp.is_some();
            if namespaces.get("", &key.name).is_none_or(|n| going(&n)) {
                return Ok(None);
            }
            if accounts.get(&key.name, ACCOUNT).is_none() {
                let metadata = ObjectMeta { name: Some(ACCOUNT.into()), ..ObjectMeta::default() };
                let account = ServiceAccount { metadata, ..ServiceAccount::default() };
                made(context.api(&key.name).create(&PostParams::default(), &account).await)?;
            }
            let wanted = BTreeMap::from([(CA_KEY.to_string(), context.cluster_ca.clone())]);
            match maps.get(&key.name, CONFIG_MAP) {
                None => {
                    let annotations = Some(BTreeMap::from([(DESCRIPTION.to_string(), TEXT.to_string())]));
                    let metadata = ObjectMeta { name: Some(CONFIG_MAP.into()), annotations, ..ObjectMeta::default() };
                    let map = ConfigMap { metadata, data: Some(wanted), ..ConfigMap::default() };
                    made(context.api(&key.name).create(&PostParams::default(), &map).await)?;
                }
                Some(map) if map.data.as_ref() != Some(&wanted) => {
                    let patch = Patch::Merge(json!({"data": wanted}));
                    context.api::<ConfigMap>(&key.name).patch(CONFIG_MAP, &PatchParams::default(), &patch).await?;
                }
                Some(_) => {}
            }
            Ok::<_, kube::Error>(None)
        }
    })
    .await;
}

fn named(change: &Change<Namespace>) -> Vec<Key> {
    change.new.iter().filter_map(|n| n.metadata.name.clone()).map(|name| Key::new("", name)).collect()
}

/// The namespace of an object with that name.
fn of<K: Resource>(change: &Change<K>, name: &str) -> Vec<Key> {
    let object = change.new.as_ref().or(change.old.as_ref()).filter(|o| o.meta().name.as_deref() == Some(name));
    object.and_then(|o| o.meta().namespace.clone()).map(|namespace| Key::new("", namespace)).into_iter().collect()
}

/// One that is there already, or has no namespace any more, is as it should be.
fn made<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(error) if matches!(code(&error), 404 | 409) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("being terminated") => Ok(()),
        other => other.map(drop),
    }
}

//! Writes where an Ingress is reached into its status, as `kubectl get ingress` shows it.

use super::routes::is_ours;
use client::{Informers, Key, Queue};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::net::IpAddr;
use tokio_util::sync::CancellationToken;

pub async fn run(address: IpAddr, informers: Informers, stop: CancellationToken) {
    let ingresses = informers.of::<Ingress>();
    let classes = informers.of::<IngressClass>();
    let synced = async { tokio::join!(ingresses.synced(), classes.synced()) };
    if stop.run_until_cancelled(synced).await.is_none() {
        return;
    }
    let queue: Queue<Key> = Queue::new();
    let mut changes = ingresses.changes();
    let feed = queue.clone();
    tokio::spawn(async move {
        while let Some(change) = changes.recv().await {
            if let Some(ingress) = change.new {
                feed.add(Key::of(&*ingress));
            }
        }
    });
    let mut changes = classes.changes();
    let (feed, all) = (queue.clone(), ingresses.clone());
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            for ingress in all.list() {
                feed.add(Key::of(&*ingress));
            }
        }
    });
    client::run("ingress-status", queue, 1, stop, move |key: Key| {
        let (ingresses, classes, client) = (ingresses.clone(), classes.clone(), informers.client());
        async move {
            let Some(ingress) = ingresses.get(&key.namespace, &key.name) else { return Ok(None) };
            if ingress.metadata.deletion_timestamp.is_some() || !is_ours(&ingress, &classes.list()) || shows(&ingress, address) {
                return Ok(None);
            }
            let api: Api<Ingress> = Api::namespaced(client, &key.namespace);
            let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
            match api.patch_status(&ingress.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => Ok(None),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        }
    })
    .await;
}

fn shows(ingress: &Ingress, address: IpAddr) -> bool {
    let points = ingress.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|l| l.ingress.as_deref()).unwrap_or_default();
    matches!(points, [only] if only.ip.as_deref() == Some(&address.to_string()))
}

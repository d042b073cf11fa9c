//! The live routing table: rebuilt when an object it is made of changes, and swapped in one step, so
//! that every request sees one table from beginning to end.

use super::forward::Forwarder;
use super::routes::{Objects, Table};
use client::{Change, Informer, Informers, Object};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::ResourceExt;
use parking_lot::RwLock;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Changes come in bursts (a rollout, a list); this long they are gathered.
const GATHER: Duration = Duration::from_millis(20);
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Default)]
pub struct Snapshot {
    /// Made of everything the API holds; what is not in it does not exist.
    pub complete: bool,
    pub routes: Table,
    /// By the namespace and name of the Secret.
    pub certificates: HashMap<(String, String), Arc<CertifiedKey>>,
}

pub struct Live {
    current: RwLock<Arc<Snapshot>>,
}

impl Live {
    pub fn new() -> Self {
        Self { current: RwLock::default() }
    }

    pub fn get(&self) -> Arc<Snapshot> {
        self.current.read().clone()
    }

    #[cfg(test)]
    pub fn set(&self, snapshot: Snapshot) {
        *self.current.write() = Arc::new(snapshot);
    }
}

pub async fn follow(informers: Informers, live: Arc<Live>, forwarder: Arc<Forwarder>, stop: CancellationToken) {
    let classes = informers.of::<IngressClass>();
    let ingresses = informers.of::<Ingress>();
    let services = informers.of::<Service>();
    let slices = informers.of::<EndpointSlice>();
    let secrets = informers.selected::<Secret>(None, Some("type=kubernetes.io/tls"));
    let changed = Arc::new(Notify::new());
    wake(&classes, &changed);
    wake(&ingresses, &changed);
    wake(&services, &changed);
    wake(&slices, &changed);
    wake(&secrets, &changed);
    let synced = async { tokio::join!(classes.synced(), ingresses.synced(), services.synced(), slices.synced(), secrets.synced()) };
    if stop.run_until_cancelled(synced).await.is_none() {
        return;
    }
    loop {
        let mut objects = Objects { classes: classes.list(), ingresses: ingresses.list(), ..Objects::default() };
        if !objects.ingresses.is_empty() {
            for service in services.list() {
                objects.services.insert((service.namespace().unwrap_or_default(), service.name_any()), service);
            }
            for slice in slices.list() {
                if let Some(service) = slice.labels().get(SERVICE_NAME) {
                    objects.slices.entry((slice.namespace().unwrap_or_default(), service.clone())).or_default().push(slice);
                }
            }
        }
        let routes = Table::build(&objects);
        let mut certificates = HashMap::new();
        for (namespace, name) in routes.certificates.values() {
            let Some(secret) = secrets.get(namespace, name) else { continue };
            match super::tls::certified_key(&secret) {
                Ok(key) => {
                    certificates.insert((namespace.clone(), name.clone()), Arc::new(key));
                }
                Err(error) => tracing::warn!(%namespace, secret = %name, %error, "the TLS secret of an Ingress cannot be used"),
            }
        }
        forwarder.keep_only(&routes.endpoints());
        *live.current.write() = Arc::new(Snapshot { complete: true, routes, certificates });
        if stop.run_until_cancelled(changed.notified()).await.is_none() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

fn wake<K: Object>(informer: &Informer<K>, changed: &Arc<Notify>) {
    let mut changes: mpsc::UnboundedReceiver<Change<K>> = informer.changes();
    let changed = changed.clone();
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            changed.notify_one();
        }
    });
}

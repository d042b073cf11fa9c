//! Claims and volumes: who is bound to whom, what protects them while in use, and the claims of
//! generic ephemeral volumes (upstream's `persistentvolume`, `pvcprotection`, `pvprotection` and
//! `ephemeral` controllers).

mod claim;
mod ephemeral;
mod matching;
mod protection;
mod volume;

use crate::Context;
use crate::context::itself;
use client::{Change, Informer, Key, Queue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use std::sync::Arc;

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const BETA_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";

#[derive(Clone)]
struct Binder {
    context: Context,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    claim_queue: Queue<Key>,
    volume_queue: Queue<Key>,
}

pub async fn run(context: Context) {
    let binder = Arc::new(Binder {
        claims: context.informers.of(),
        volumes: context.informers.of(),
        classes: context.informers.of(),
        pods: context.informers.of(),
        claim_queue: Queue::new(),
        volume_queue: Queue::new(),
        context: context.clone(),
    });
    tokio::join!(binder.claims.synced(), binder.volumes.synced(), binder.classes.synced(), binder.pods.synced());
    feed(&binder);
    let (claims, volumes, ephemeral) = (binder.clone(), binder.clone(), Queue::new());
    context.feed(&binder.pods, &ephemeral, itself);
    tokio::join!(
        // One worker: two claims reconciled at once could choose the same volume.
        client::run("persistentvolumeclaim", binder.claim_queue.clone(), 1, context.stop.clone(), move |key: Key| {
            let binder = claims.clone();
            async move { binder.sync_claim(&key).await }
        }),
        client::run("persistentvolume", binder.volume_queue.clone(), 2, context.stop.clone(), move |key: Key| {
            let binder = volumes.clone();
            async move { binder.sync_volume(&key).await }
        }),
        client::run("ephemeral-volume", ephemeral, 2, context.stop.clone(), move |key: Key| {
            let binder = binder.clone();
            async move { binder.sync_ephemeral(&key).await }
        }),
    );
}

fn feed(binder: &Arc<Binder>) {
    let context = &binder.context;
    context.feed(&binder.claims, &binder.claim_queue, itself);
    context.feed(&binder.volumes, &binder.volume_queue, itself);
    // Each side looks again when the other changes.
    context.feed(&binder.claims, &binder.volume_queue, |change: &Change<PersistentVolumeClaim>| {
        let claims = [&change.old, &change.new].into_iter().flatten();
        claims.filter_map(|c| c.spec.as_ref()?.volume_name.clone()).map(|name| Key::new("", name)).collect()
    });
    let (claims, volumes) = (binder.claims.clone(), binder.volumes.clone());
    context.feed(&binder.claims, &binder.volume_queue, move |change: &Change<PersistentVolumeClaim>| {
        if change.new.is_some() {
            return Vec::new();
        }
        let Some(gone) = change.object() else { return Vec::new() };
        volumes.list().iter().filter(|v| matching::names(v, gone)).map(|v| Key::of(&**v)).collect()
    });
    context.feed(&binder.volumes, &binder.claim_queue, move |change: &Change<PersistentVolume>| {
        let Some(volume) = change.object() else { return Vec::new() };
        if let Some(r) = matching::claim_ref(volume) {
            return vec![Key::new(r.namespace.clone().unwrap_or_default(), r.name.clone().unwrap_or_default())];
        }
        let class = matching::class_of_volume(volume);
        let open = |c: &PersistentVolumeClaim| c.spec.as_ref().and_then(|s| s.volume_name.as_deref()).is_none_or(str::is_empty);
        let named = |c: &PersistentVolumeClaim| c.spec.as_ref().and_then(|s| s.volume_name.as_ref()) == volume.metadata.name.as_ref();
        let mine = claims.list();
        let mine = mine.iter().filter(|c| named(c) || (open(c) && matching::class_of(c).unwrap_or("") == class));
        mine.map(|c| Key::of(&**c)).collect()
    });
    let claims = binder.claims.clone();
    context.feed(&binder.classes, &binder.claim_queue, move |_: &Change<StorageClass>| {
        let pending = |c: &&Arc<PersistentVolumeClaim>| !kube::ResourceExt::annotations(&***c).contains_key(BIND_COMPLETED);
        claims.list().iter().filter(pending).map(|c| Key::of(&**c)).collect()
    });
    // A claim is held while a pod uses it.
    context.feed(&binder.pods, &binder.claim_queue, |change: &Change<Pod>| {
        let Some(pod) = change.object() else { return Vec::new() };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        protection::claims_of(pod).map(|name| Key::new(namespace.clone(), name)).collect()
    });
}

//! Keeps the zone in line with the API, one object at a time.

use super::zone::{Key, Zone};
use crate::services::SERVICE_NAME;
use client::Informers;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use parking_lot::RwLock;
use std::sync::Arc;

/// Returns once the zone holds everything there is; goes on following in the background for as long as
/// the informers live.
pub async fn run(informers: Informers, zone: Arc<RwLock<Zone>>) {
    let services = informers.of::<Service>();
    let slices = informers.of::<EndpointSlice>();
    let namespaces = informers.of::<Namespace>();
    tokio::join!(services.synced(), slices.synced(), namespaces.synced());

    let mut changes = namespaces.changes();
    let target = zone.clone();
    // What is cached by now is queued by now: it is taken in before anything is answered.
    while let Ok(change) = changes.try_recv() {
        take_namespace(&target, &change);
    }
    tokio::spawn(async move {
        while let Some(change) = changes.recv().await {
            take_namespace(&target, &change);
        }
    });
    let mut changes = services.changes();
    let target = zone.clone();
    while let Ok(change) = changes.try_recv() {
        take_service(&target, &change);
    }
    tokio::spawn(async move {
        while let Some(change) = changes.recv().await {
            take_service(&target, &change);
        }
    });
    let mut changes = slices.changes();
    while let Ok(change) = changes.try_recv() {
        take_slice(&zone, &change);
    }
    tokio::spawn(async move {
        while let Some(change) = changes.recv().await {
            take_slice(&zone, &change);
        }
    });
}

fn take_namespace(zone: &RwLock<Zone>, change: &client::Change<Namespace>) {
    if let Some(object) = change.object() {
        zone.write().set_namespace(&object.name_any(), change.new.is_some());
    }
}

fn take_service(zone: &RwLock<Zone>, change: &client::Change<Service>) {
    if let Some(object) = change.object() {
        zone.write().set_service((object.namespace().unwrap_or_default(), object.name_any()), change.new.clone());
    }
}

fn take_slice(zone: &RwLock<Zone>, change: &client::Change<EndpointSlice>) {
    let of = |slice: &Arc<EndpointSlice>| -> Option<Key> {
        Some((slice.namespace().unwrap_or_default(), slice.labels().get(SERVICE_NAME)?.clone()))
    };
    let (before, after) = (change.old.as_ref().and_then(of), change.new.as_ref().and_then(of));
    let Some(name) = change.object().map(|s| s.name_any()) else { return };
    let mut zone = zone.write();
    if let Some(before) = before.filter(|b| Some(b) != after.as_ref()) {
        zone.set_slice(before, &name, None);
    }
    if let Some(after) = after {
        zone.set_slice(after, &name, change.new.clone());
    }
}

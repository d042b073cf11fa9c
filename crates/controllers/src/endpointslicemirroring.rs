//! EndpointSlices of Endpoints that somebody else than a controller keeps: what a Service without a
//! selector leads to.

use crate::Context;
use crate::context::{code, if_there, itself};
use crate::endpointslice::{SERVICE, has_selector};
use crate::expectations::Expectations;
use crate::pods::controlled_by;
use client::{Change, Key, Queue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that say something about the Endpoints only.
const OWN: [&str; 2] = ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// Upstream's `--mirroring-max-endpoints-per-subset`.
const PER_SUBSET: usize = 1000;

pub async fn run(context: Context) {
    let all = context.informers.of::<Endpoints>();
    let services = context.informers.of::<Service>();
    let slices = context.informers.of::<EndpointSlice>();
    tokio::join!(all.synced(), services.synced(), slices.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&all, &queue, itself);
    context.feed(&services, &queue, itself);
    context.feed(&slices, &queue, |change: &Change<EndpointSlice>| {
        let slice = change.object().filter(|s| mirrors(s));
        slice.and_then(|s| Some(Key::new(s.namespace()?, s.labels().get(SERVICE)?.clone()))).into_iter().collect()
    });
    let expectations = Arc::new(Expectations::default());
    let stop = context.stop.clone();
    client::run("endpointslicemirroring", queue, 4, stop, move |key: Key| {
        let (context, all, services, slices) = (context.clone(), all.clone(), services.clone(), slices.clone());
        let expectations = expectations.clone();
        async move {
            let service = services.get(&key.namespace, &key.name).filter(|s| !has_selector(s));
            let endpoints = all.get(&key.namespace, &key.name).filter(|e| service.is_some() && is_mirrored(e));
            if let Some(uid) = endpoints.as_ref().and_then(|e| e.uid())
                && !expectations.met(&uid, |uid| slices.by_uid(uid).is_some(), |uid| slices.by_uid(uid).is_none())
            {
                return Ok(Some(Duration::from_secs(1)));
            }
            let there = slices.list_in(&key.namespace);
            let there = there.into_iter().filter(|s| mirrors(s) && s.labels().get(SERVICE) == Some(&key.name)).collect();
            write(&context, &key, endpoints.as_deref(), there, &expectations).await?;
            Ok::<_, kube::Error>(None)
        }
    })
    .await;
}

fn mirrors(slice: &EndpointSlice) -> bool {
    slice.labels().get(MANAGED_BY).is_some_and(|m| m == MANAGER)
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(SKIP).is_none_or(|v| v != "true") && !endpoints.annotations().contains_key(LEADER)
}

/// The slices that should be: address type, ports, endpoints.
fn wanted(endpoints: &Endpoints) -> Vec<(&'static str, Vec<EndpointPort>, Vec<Endpoint>)> {
    let mut slices = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let found = of_family(subset, family);
            if !found.is_empty() {
                slices.push((family, ports(subset), found));
            }
        }
    }
    slices
}

fn of_family(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let ready = subset.addresses.iter().flatten().map(|a| (a, true));
    let all = ready.chain(subset.not_ready_addresses.iter().flatten().map(|a| (a, false)));
    let mut seen = BTreeSet::new();
    all.filter(|(address, _)| address.ip.contains(':') == (family == "IPv6") && seen.insert(address.ip.clone()))
        .take(PER_SUBSET)
        .map(|(address, ready)| endpoint(address, ready))
        .collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|h| !h.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let port = |p: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        name: Some(p.name.clone().unwrap_or_default()),
        port: Some(p.port),
        protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: p.app_protocol.clone(),
    };
    subset.ports.iter().flatten().map(port).collect()
}

fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE.into(), endpoints.name_any());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

async fn write(
    context: &Context,
    key: &Key,
    endpoints: Option<&Endpoints>,
    mut there: Vec<Arc<EndpointSlice>>,
    expectations: &Expectations,
) -> Result<(), kube::Error> {
    let api = context.api::<EndpointSlice>(&key.namespace);
    for (family, ports, found) in endpoints.map(wanted).unwrap_or_default() {
        let Some(endpoints) = endpoints else { break };
        let annotations: BTreeMap<_, _> = endpoints.annotations().clone().into_iter().filter(|(k, _)| !OWN.contains(&k.as_str())).collect();
        let (labels, annotations) = (Some(labels(endpoints)), Some(annotations).filter(|a| !a.is_empty()));
        let as_is = |s: &EndpointSlice| s.address_type == family && s.ports.as_deref().unwrap_or_default() == ports.as_slice();
        // One with these ports is changed rather than replaced, so that a reader sees one step.
        let reused = there.iter().position(|s| as_is(s)).or_else(|| there.iter().position(|s| s.address_type == family));
        match reused.map(|i| there.remove(i)) {
            Some(slice) => {
                let same = as_is(&slice)
                    && slice.endpoints.as_deref().unwrap_or_default() == found.as_slice()
                    && slice.metadata.labels == labels
                    && slice.metadata.annotations == annotations;
                if !same {
                    let mut slice = (*slice).clone();
                    (slice.metadata.labels, slice.metadata.annotations) = (labels, annotations);
                    slice.metadata.managed_fields = None;
                    (slice.ports, slice.endpoints) = (Some(ports), Some(found));
                    if_there(api.replace(&slice.name_any(), &PostParams::default(), &slice).await)?;
                }
            }
            None => {
                let metadata = ObjectMeta {
                    generate_name: Some(format!("{}-", key.name)),
                    owner_references: Some(vec![controlled_by(endpoints)]),
                    labels,
                    annotations,
                    ..ObjectMeta::default()
                };
                let slice = EndpointSlice { address_type: family.into(), endpoints: Some(found), metadata, ports: Some(ports) };
                match api.create(&PostParams::default(), &slice).await {
                    Ok(created) => expectations.created(&endpoints.uid().unwrap_or_default(), created.uid().unwrap_or_default()),
                    // A namespace that is going takes nothing new in.
                    Err(error) if matches!(code(&error), 403 | 404) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    for slice in there {
        if_there(api.delete(&slice.name_any(), &DeleteParams::default()).await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn subsets_become_slices_of_one_family_each() {
        let endpoints: Endpoints = serde_json::from_value(json!({"metadata": {"name": "e", "labels": {"a": "b"}}, "subsets": [{
            "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [{"name": "http", "port": 80}]}]}))
        .unwrap();
        let slices = wanted(&endpoints);
        let shown: Vec<_> = slices.iter().map(|(family, ports, e)| (*family, ports[0].port, e.len())).collect();
        assert_eq!(shown, [("IPv4", Some(80), 2), ("IPv6", Some(80), 1)]);
        let ready = |i: usize| slices[0].2[i].conditions.as_ref().and_then(|c| c.ready);
        assert_eq!((ready(0), ready(1)), (Some(true), Some(false)));
        assert_eq!(labels(&endpoints).get(SERVICE).map(String::as_str), Some("e"));
        assert!(is_mirrored(&endpoints));
    }
}

//! Endpoints, the older view of what EndpointSlices say: one object per Service with a selector, of the
//! same name, for whoever still reads it.

use crate::Context;
use crate::context::{code, if_there, itself};
use crate::endpointslice::{HEADLESS, addresses, has_selector, selecting, target_port};
use crate::pods;
use client::{Change, Key, Queue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Endpoints that hold an old leader lock have no service and need none.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// The most addresses one object lists.
const CAPACITY: usize = 1000;

pub async fn run(context: Context) {
    let services = context.informers.of::<Service>();
    let all_pods = context.informers.of::<Pod>();
    let endpoints = context.informers.of::<Endpoints>();
    tokio::join!(services.synced(), all_pods.synced(), endpoints.synced());
    let queue: Queue<Key> = Queue::new();
    // What was left behind by services that went while nobody looked. Later on, Endpoints that somebody
    // makes without a service are theirs to keep.
    for left in endpoints.list().iter().filter(|e| !e.annotations().contains_key(LEADER)) {
        queue.add(Key::of(&**left));
    }
    context.feed(&services, &queue, itself);
    context.feed(&endpoints, &queue, |change| if change.new.is_none() { itself(change) } else { Vec::new() });
    let known = services.clone();
    context.feed(&all_pods, &queue, move |change: &Change<Pod>| selecting(&known, change));
    let stop = context.stop.clone();
    client::run("endpoints", queue, 4, stop, move |key: Key| {
        let (context, services, all_pods, endpoints) = (context.clone(), services.clone(), all_pods.clone(), endpoints.clone());
        async move {
            let there = endpoints.get(&key.namespace, &key.name);
            match services.get(&key.namespace, &key.name) {
                None => remove(&context, &key, there).await?,
                Some(service) if has_selector(&service) => {
                    let mine: Vec<Arc<Pod>> = all_pods.list_in(&key.namespace).into_iter().filter(|p| selects(&service, p)).collect();
                    write(&context, there.as_deref(), wanted(&service, &mine)).await?;
                }
                // Without a selector they are the user's to write.
                Some(_) => {}
            }
            Ok::<_, kube::Error>(None)
        }
    })
    .await;
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.is_some_and(|s| s.iter().all(|(k, v)| pod.labels().get(k) == Some(v)))
}

/// The object that should be, from the pods that the service selects.
fn wanted(service: &Service, mine: &[Arc<Pod>]) -> Endpoints {
    let mut subsets = subsets(service, mine);
    let truncated = truncate(&mut subsets, CAPACITY);
    let mut labels: BTreeMap<String, String> = service.labels().clone();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).is_none_or(|ip| ip.is_empty() || ip == "None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    let mut annotations = BTreeMap::new();
    let created = service.creation_timestamp().map(|t| t.0);
    if let Some(last) = mine.iter().filter_map(|p| pods::ready_since(p)).chain(created).max() {
        annotations.insert(TRIGGERED.into(), last.to_string());
    }
    if truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// Pods that lead to the same ports share a subset.
fn subsets(service: &Service, mine: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    let given = spec.ports.as_deref().unwrap_or_default();
    let mut groups: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for pod in mine.iter().filter(|p| !pods::finished(p) && (publish || p.metadata.deletion_timestamp.is_none())) {
        let Some(ip) = addresses(pod).into_iter().find(|a| !a.contains(':')) else { continue };
        let mut ports: Vec<EndpointPort> = given
            .iter()
            .filter_map(|p| {
                let name = p.name.clone().filter(|n| !n.is_empty());
                Some(EndpointPort { name, port: target_port(pod, p)?, protocol: p.protocol.clone(), app_protocol: p.app_protocol.clone() })
            })
            .collect();
        // Only a service that has no ports at all lists pods without any.
        if ports.is_empty() && !given.is_empty() {
            continue;
        }
        ports.sort_by(|a, b| (a.port, &a.protocol, &a.name).cmp(&(b.port, &b.protocol, &b.name)));
        let key = serde_json::to_string(&ports).unwrap_or_default();
        let new = || EndpointSubset { ports: (!ports.is_empty()).then_some(ports), ..EndpointSubset::default() };
        let subset = groups.entry(key).or_insert_with(new);
        let list = if publish || pods::ready(pod) { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address(service, pod, ip));
    }
    let mut subsets: Vec<EndpointSubset> = groups.into_values().collect();
    for list in subsets.iter_mut().flat_map(|s| [&mut s.addresses, &mut s.not_ready_addresses]).flatten() {
        list.sort_by(|a, b| a.ip.cmp(&b.ip));
    }
    subsets
}

fn address(service: &Service, pod: &Pod, ip: String) -> EndpointAddress {
    let spec = pod.spec.as_ref();
    let in_domain = spec.and_then(|s| s.subdomain.as_deref()) == service.metadata.name.as_deref();
    EndpointAddress {
        ip,
        hostname: spec.and_then(|s| s.hostname.clone()).filter(|h| in_domain && !h.is_empty()),
        node_name: spec.and_then(|s| s.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.namespace(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
    }
}

/// Keeps at most `most` addresses, those that are ready before those that are not; whether any had to go.
fn truncate(subsets: &mut Vec<EndpointSubset>, most: usize) -> bool {
    let mut room = most;
    let mut cut = false;
    let mut keep = |list: &mut Option<Vec<EndpointAddress>>| {
        let Some(all) = list else { return };
        cut |= all.len() > room;
        all.truncate(room);
        room -= all.len();
        if all.is_empty() {
            *list = None;
        }
    };
    subsets.iter_mut().for_each(|s| keep(&mut s.addresses));
    subsets.iter_mut().for_each(|s| keep(&mut s.not_ready_addresses));
    subsets.retain(|s| s.addresses.is_some() || s.not_ready_addresses.is_some());
    cut
}

fn same(there: &Endpoints, wanted: &Endpoints) -> bool {
    there.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && there.labels() == wanted.labels()
        && there.annotations().get(OVER_CAPACITY) == wanted.annotations().get(OVER_CAPACITY)
}

async fn write(context: &Context, there: Option<&Endpoints>, wanted: Endpoints) -> Result<(), kube::Error> {
    let api = context.api::<Endpoints>(&wanted.namespace().unwrap_or_default());
    let Some(there) = there else {
        return match api.create(&PostParams::default(), &wanted).await {
            // A namespace that is going takes nothing new in.
            Err(error) if !matches!(code(&error), 403 | 404) => Err(error),
            _ => Ok(()),
        };
    };
    if same(there, &wanted) {
        return Ok(());
    }
    let mut new = there.clone();
    new.metadata.managed_fields = None;
    let annotations = new.annotations_mut();
    annotations.remove(OVER_CAPACITY);
    annotations.extend(wanted.metadata.annotations.into_iter().flatten());
    new.metadata.labels = wanted.metadata.labels;
    new.subsets = wanted.subsets;
    if_there(api.replace(&new.name_any(), &PostParams::default(), &new).await).map(drop)
}

async fn remove(context: &Context, key: &Key, there: Option<Arc<Endpoints>>) -> Result<(), kube::Error> {
    let Some(there) = there else { return Ok(()) };
    // By uid: a service made anew may have Endpoints already.
    let preconditions = Some(Preconditions { uid: there.uid(), resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::default() };
    if_there(context.api::<Endpoints>(&key.namespace).delete(&key.name, &params).await).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, ip: &str, ready: bool, port: i32) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let value: Value = json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"app": "a"}},
            "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
            "status": {"podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": ready}]},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec})).unwrap()
    }

    #[test]
    fn pods_share_a_subset_by_where_a_named_port_leads() {
        let service = service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": "web", "protocol": "TCP"}]}));
        let found = subsets(&service, &[pod("b", "1.0.0.2", true, 80), pod("a", "1.0.0.1", false, 80), pod("c", "1.0.0.3", true, 81)]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].addresses.as_ref().unwrap()[0].ip, "1.0.0.2");
        assert_eq!(found[0].not_ready_addresses.as_ref().unwrap()[0].ip, "1.0.0.1");
        assert_eq!(found[1].ports.as_ref().unwrap()[0].port, 81);
    }

    #[test]
    fn a_headless_service_without_ports_lists_pods_and_may_publish_unready_ones() {
        let found = wanted(&service(json!({"clusterIP": "None", "publishNotReadyAddresses": true})), &[pod("a", "1.0.0.1", false, 80)]);
        assert!(found.labels().contains_key(HEADLESS));
        let subsets = found.subsets.unwrap();
        assert_eq!(subsets[0].addresses.as_ref().unwrap().len(), 1);
        assert!(subsets[0].ports.is_none());
    }

    #[test]
    fn over_capacity_ready_addresses_stay() {
        let service = service(json!({"clusterIP": "None"}));
        let mut found = subsets(&service, &[pod("a", "1.0.0.1", false, 80), pod("b", "1.0.0.2", true, 80)]);
        assert!(truncate(&mut found, 1));
        assert_eq!(found[0].addresses.as_ref().unwrap()[0].ip, "1.0.0.2");
        assert!(found[0].not_ready_addresses.is_none());
        assert!(!truncate(&mut found, 1));
    }
}

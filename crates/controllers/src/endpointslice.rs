//! EndpointSlices: where each Service with a selector leads, from its pods. A slice is written only
//! where it would differ.

use crate::Context;
use crate::context::{if_there, itself};
use crate::expectations::Expectations;
use crate::pods::{self, controlled_by};
use client::{Change, Informer, Key, Queue};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Upstream's `--max-endpoints-per-slice`.
const PER_SLICE: usize = 100;

pub async fn run(context: Context) {
    let services = context.informers.of::<Service>();
    let all_pods = context.informers.of::<Pod>();
    let slices = context.informers.of::<EndpointSlice>();
    let nodes = context.informers.of::<Node>();
    tokio::join!(services.synced(), all_pods.synced(), slices.synced(), nodes.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&services, &queue, itself);
    context.feed(&slices, &queue, |change: &Change<EndpointSlice>| {
        let slice = change.object().filter(|s| s.labels().get(MANAGED_BY).is_some_and(|m| m == MANAGER));
        let service = slice.and_then(|s| Some(Key::new(s.namespace()?, s.labels().get(SERVICE)?.clone())));
        service.into_iter().collect()
    });
    let known = services.clone();
    context.feed(&all_pods, &queue, move |change: &Change<Pod>| selecting(&known, change));
    let expectations = Arc::new(Expectations::default());
    let stop = context.stop.clone();
    client::run("endpointslice", queue, 4, stop, move |key: Key| {
        let (context, services, all_pods, slices, nodes) =
            (context.clone(), services.clone(), all_pods.clone(), slices.clone(), nodes.clone());
        let expectations = expectations.clone();
        async move {
            let service = services.get(&key.namespace, &key.name).filter(|s| has_selector(s));
            // A slice just made is in the cache a little later; until then another would be made.
            if let Some(uid) = service.as_ref().and_then(|s| s.uid())
                && !expectations.met(&uid, |uid| slices.by_uid(uid).is_some(), |uid| slices.by_uid(uid).is_none())
            {
                return Ok(Some(Duration::from_secs(1)));
            }
            let mine: Vec<Arc<EndpointSlice>> = slices.list_in(&key.namespace).into_iter().filter(|s| belongs(s, &key.name)).collect();
            let wanted = match &service {
                Some(service) => wanted(service, &all_pods.list_in(&key.namespace), &nodes),
                None => Vec::new(),
            };
            write(&context, &key, service.as_deref(), mine, wanted, &expectations).await?;
            Ok::<_, kube::Error>(None)
        }
    })
    .await;
}

fn belongs(slice: &EndpointSlice, service: &str) -> bool {
    let labels = slice.labels();
    labels.get(SERVICE).is_some_and(|s| s == service) && labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER)
}

pub(crate) fn has_selector(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|s| s.selector.as_ref().is_some_and(|m| !m.is_empty()) && s.type_.as_deref() != Some("ExternalName"))
}

/// The services that select a pod as it was or as it is, where the change matters to them.
pub fn selecting(services: &Informer<Service>, change: &Change<Pod>) -> Vec<Key> {
    if let (Some(old), Some(new)) = (&change.old, &change.new) {
        let view =
            |p: &Pod| (p.metadata.labels.clone(), addresses(p), pods::ready(p), p.metadata.deletion_timestamp.is_some(), pods::finished(p));
        if view(old) == view(new) {
            return Vec::new();
        }
    }
    let Some(pod) = change.object() else { return Vec::new() };
    let namespace = pod.namespace().unwrap_or_default();
    let selects = |s: &Service| {
        let selector = s.spec.as_ref().and_then(|s| s.selector.clone()).unwrap_or_default();
        [&change.old, &change.new].into_iter().flatten().any(|p| selector.iter().all(|(k, v)| p.labels().get(k) == Some(v)))
    };
    services.list_in(&namespace).iter().filter(|s| has_selector(s) && selects(s)).map(|s| Key::of(&**s)).collect()
}

pub fn addresses(pod: &Pod) -> Vec<String> {
    pod.status.iter().flat_map(|s| s.pod_ips.iter().flatten()).map(|ip| ip.ip.clone()).collect()
}

/// The port that a service port leads to in this pod; none where the pod has no port of that name.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
            let mut ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            ports.find(|p| p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol).map(|p| p.container_port)
        }
    }
}

/// The slices that should be, by what they hold: the ports, and up to so many endpoints.
fn wanted(service: &Service, all: &[Arc<Pod>], nodes: &Informer<Node>) -> Vec<(Vec<EndpointPort>, Vec<Endpoint>)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let selector = spec.selector.clone().unwrap_or_default();
    let mut groups: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    for pod in all.iter().filter(|p| selector.iter().all(|(k, v)| p.labels().get(k) == Some(v))) {
        let own = addresses(pod);
        let Some(address) = own.iter().find(|a| !a.contains(':')) else { continue };
        if pods::finished(pod) {
            continue;
        }
        let ports: Vec<EndpointPort> = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|p| {
                let port = target_port(pod, p)?;
                let name = Some(p.name.clone().unwrap_or_default());
                Some(EndpointPort { name, port: Some(port), protocol: p.protocol.clone(), app_protocol: p.app_protocol.clone() })
            })
            .collect();
        let key = serde_json::to_string(&ports).unwrap_or_default();
        groups.entry(key).or_insert_with(|| (ports, Vec::new())).1.push(endpoint(service, pod, address, nodes));
    }
    let mut slices = Vec::new();
    for (_, (ports, mut endpoints)) in groups {
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        slices.extend(endpoints.chunks(PER_SLICE).map(|chunk| (ports.clone(), chunk.to_vec())));
    }
    if slices.is_empty() {
        slices.push((Vec::new(), Vec::new()));
    }
    slices
}

fn endpoint(service: &Service, pod: &Pod, address: &str, nodes: &Informer<Node>) -> Endpoint {
    let publish = service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses).unwrap_or(false);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = pods::ready(pod);
    let spec = pod.spec.as_ref();
    let node_name = spec.and_then(|s| s.node_name.clone());
    let node = node_name.as_ref().and_then(|n| nodes.get("", n));
    let in_domain = spec.and_then(|s| s.subdomain.as_deref()) == service.metadata.name.as_deref();
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: spec.and_then(|s| s.hostname.clone()).filter(|h| in_domain && !h.is_empty()),
        zone: node.and_then(|n| n.labels().get(ZONE).cloned()),
        node_name,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.namespace(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// What a slice of this service is called and carries.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let own = [SERVICE, MANAGED_BY, HEADLESS];
    let mut labels: BTreeMap<String, String> =
        service.labels().iter().filter(|(k, _)| !own.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    labels.insert(SERVICE.into(), service.name_any());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service.spec.as_ref().is_some_and(|s| s.cluster_ip.as_deref() == Some("None")) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

async fn write(
    context: &Context,
    key: &Key,
    service: Option<&Service>,
    mut there: Vec<Arc<EndpointSlice>>,
    wanted: Vec<(Vec<EndpointPort>, Vec<Endpoint>)>,
    expectations: &Expectations,
) -> Result<(), kube::Error> {
    let api = context.api::<EndpointSlice>(&key.namespace);
    there.sort_by_key(|s| s.name_any());
    for (ports, endpoints) in wanted {
        let Some(service) = service else { break };
        // A slice with these ports is changed rather than replaced, so that a reader sees one step.
        let same = there.iter().position(|s| s.ports.as_deref().unwrap_or_default() == ports.as_slice() && s.address_type == "IPv4");
        let reused = same.or((!there.is_empty() && there.iter().all(|s| s.endpoints.as_ref().is_none_or(Vec::is_empty))).then_some(0));
        let labels = labels(service);
        match reused.map(|i| there.remove(i)) {
            Some(slice) => {
                if slice.endpoints.as_deref().unwrap_or_default() == endpoints.as_slice()
                    && slice.labels() == &labels
                    && slice.ports.as_deref().unwrap_or_default() == ports.as_slice()
                {
                    continue;
                }
                let mut slice = (*slice).clone();
                slice.metadata.labels = Some(labels);
                slice.metadata.managed_fields = None;
                (slice.ports, slice.endpoints) = (Some(ports), Some(endpoints));
                if_there(api.replace(&slice.name_any(), &PostParams::default(), &slice).await)?;
            }
            None => {
                let metadata = ObjectMeta {
                    generate_name: Some(format!("{}-", key.name)),
                    labels: Some(labels),
                    owner_references: Some(vec![controlled_by(service)]),
                    ..ObjectMeta::default()
                };
                let slice = EndpointSlice { address_type: "IPv4".into(), endpoints: Some(endpoints), metadata, ports: Some(ports) };
                match api.create(&PostParams::default(), &slice).await {
                    Ok(created) => expectations.created(&service.uid().unwrap_or_default(), created.uid().unwrap_or_default()),
                    // A namespace that is going takes nothing new in.
                    Err(error) if matches!(crate::context::code(&error), 403 | 404) => {}
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

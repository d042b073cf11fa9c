//! What the server does unasked: the objects that must be there from the start, the end of old events,
//! and the end of old history.

use crate::auth::bootstrap::reconcile;
use crate::server::{ApiServer, Config, StartError, Trust};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use meta::{ApiError, GroupResource, GroupVersion, time, value};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use store::Revision;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Upstream's `--event-ttl`.
const EVENT_TTL: i64 = 3600;
const EVENT_SWEEP: Duration = Duration::from_secs(300);
/// Upstream's `--etcd-compaction-interval`: history is kept for one to two of these.
const COMPACTION: Duration = Duration::from_secs(300);

pub async fn bootstrap(server: &ApiServer, config: &Config) -> Result<(), StartError> {
    for name in NAMESPACES {
        create(server, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    }
    let cidr = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [config.service_cidr]}});
    create(server, cidr).await?;
    for object in &config.bootstrap {
        create(server, object.clone()).await?;
        if let Some(resource) = reconcile::resource(object) {
            let what = || format!("{resource} {}", value::text(object, &["metadata", "name"]));
            reconcile::reconcile(server, &resource, object).await.map_err(|source| StartError::Bootstrap { what: what(), source })?;
        }
    }
    authentication(server, &config.trust).await?;
    // Whoever cleans up old tokens asks here since when their use is told.
    let since = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let name = "kube-apiserver-legacy-service-account-token-tracking";
    let metadata = json!({"name": name, "namespace": "kube-system"});
    create(server, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"since": since}})).await?;
    service(server, config).await
}

/// By what servers behind this one know whom to believe.
async fn authentication(server: &ApiServer, trust: &Trust) -> Result<(), StartError> {
    let list = |texts: &[&str]| json!(texts).to_string();
    let mut data = json!({});
    if !trust.client_ca.is_empty() {
        data["client-ca-file"] = json!(trust.client_ca);
    }
    if !trust.front_proxy_ca.is_empty() {
        data["requestheader-client-ca-file"] = json!(trust.front_proxy_ca);
        data["requestheader-allowed-names"] = json!(json!(trust.front_proxy_names).to_string());
        data["requestheader-username-headers"] = json!(list(&["X-Remote-User"]));
        data["requestheader-uid-headers"] = json!(list(&["X-Remote-Uid"]));
        data["requestheader-group-headers"] = json!(list(&["X-Remote-Group"]));
        data["requestheader-extra-headers-prefix"] = json!(list(&["X-Remote-Extra-"]));
    }
    let metadata = json!({"namespace": "kube-system", "name": "extension-apiserver-authentication"});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    keep(server, GroupResource::new("", "configmaps"), map, &["data"]).await
}

async fn create(server: &ApiServer, object: Value) -> Result<(), StartError> {
    let what = format!("{} {}", value::text(&object, &["kind"]), value::text(&object, &["metadata", "name"]));
    let fail = |source| StartError::Bootstrap { what: what.clone(), source };
    let version = GroupVersion::parse(value::text(&object, &["apiVersion"]));
    let found = server.catalog().by_kind(&version.group, &version.version, value::text(&object, &["kind"]));
    let resource = found.ok_or_else(|| fail(ApiError::page_not_found()))?.group_resource.clone();
    let (namespace, name) = (value::text(&object, &["metadata", "namespace"]), value::text(&object, &["metadata", "name"]));
    if server.objects().get(&resource, namespace, name).is_some() {
        return Ok(());
    }
    match server.create_object(&resource, object.clone()).await {
        Err(error) if error.reason != "AlreadyExists" => Err(fail(error)),
        _ => Ok(()),
    }
}

/// The Service by which pods reach this server, and where it leads. Another server on the same store
/// would add its address; this one keeps its own up to date.
async fn service(server: &ApiServer, config: &Config) -> Result<(), StartError> {
    let first = first_address(&config.service_cidr).unwrap_or(Ipv4Addr::new(10, 43, 0, 1)).to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": first, "clusterIPs": [first], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.advertise_port}],
        },
    });
    create(server, object).await?;
    let address = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": first, "labels": {"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": "default", "name": "kubernetes"}},
    });
    create(server, address).await?;
    let ip = config.advertise_address;
    let family = if matches!(ip, IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": config.advertise_port, "protocol": "TCP"}],
    });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": ip.to_string()}], "ports": [{"name": "https", "port": config.advertise_port, "protocol": "TCP"}]}],
    });
    keep(server, GroupResource::new("discovery.k8s.io", "endpointslices"), slice, &["endpoints", "ports"]).await?;
    keep(server, GroupResource::new("", "endpoints"), endpoints, &["subsets"]).await
}

/// Creates an object, or brings the named fields of the one there up to date.
async fn keep(server: &ApiServer, resource: GroupResource, object: Value, fields: &[&str]) -> Result<(), StartError> {
    create(server, object.clone()).await?;
    let (namespace, name) = (value::text(&object, &["metadata", "namespace"]), value::text(&object, &["metadata", "name"]));
    let change = |there: &mut Value| {
        fields.iter().for_each(|field| value::carry(there, &object, &[field]));
        Ok(())
    };
    let updated = server.update_object(&resource, namespace, name, change).await;
    updated.map(drop).map_err(|source| StartError::Bootstrap { what: format!("{resource} {name}"), source })
}

fn first_address(cidr: &str) -> Option<Ipv4Addr> {
    let net: Ipv4Net = cidr.parse().ok()?;
    Some(Ipv4Addr::from(u32::from(net.network()) + 1))
}

pub fn start(server: &ApiServer) {
    let stop = server.inner.stop.clone();
    let (events, history) = (server.clone(), server.clone());
    tokio::spawn(crate::admission::check_types(server.clone(), stop.clone()));
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            tokio::time::sleep(EVENT_SWEEP).await;
            expire_events(&events).await;
        }
    }));
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let mut before: Revision = 0;
        loop {
            tokio::time::sleep(COMPACTION).await;
            if let Err(error) = compact(&history, &mut before).await {
                tracing::warn!(%error, "old history could not be forgotten");
            }
        }
    }));
}

async fn expire_events(server: &ApiServer) {
    let resource = GroupResource::new("", "events");
    let limit = Timestamp::now().as_second() - EVENT_TTL;
    for event in server.objects().list(&resource, None) {
        let object = event.value();
        let last = ["lastTimestamp", "eventTime"].iter().find_map(|f| time::parse(value::text(&object, &[f])).ok());
        let last = last.or_else(|| time::parse(value::text(&object, &["metadata", "creationTimestamp"])).ok());
        if last.is_some_and(|t| t.as_second() < limit) {
            let deleted = server.delete_object(&resource, event.namespace(), event.name(), Some(event.uid()), None).await;
            if let Err(error) = deleted.as_ref().err().map_or(Ok(()), |e| if e.code == 404 || e.code == 409 { Ok(()) } else { Err(e) }) {
                tracing::debug!(%error, "an old event stays");
            }
        }
    }
}

/// Forgets what was history already when this last ran.
async fn compact(server: &ApiServer, before: &mut Revision) -> Result<(), store::Error> {
    let now = server.store().revision().await?;
    if *before > 0 && *before < now {
        match server.store().compact(*before).await {
            // Another server was here first.
            Ok(()) | Err(store::Error::Compacted { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    *before = now;
    Ok(())
}

//! What the server does unasked: the objects that must be there from the start, its own identity among the servers of
//! one store, and the end of old history.

mod compaction;
mod endpoints;
mod identity;

use crate::auth::bootstrap::reconcile;
use crate::server::{ApiServer, Config, StartError, Trust};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use meta::{ApiError, GroupResource, GroupVersion, value};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often the encryption configuration is looked at.
const ENCRYPTION: Duration = Duration::from_secs(10);
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

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
    service(server, config).await?;
    endpoints::announce(server, config).await
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

/// The Service by which pods reach the servers. Where it leads, `endpoints` keeps up to date.
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
    create(server, address).await
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

pub fn start(server: &ApiServer, config: &Config) {
    tokio::spawn(compaction::run(server.clone()));
    tokio::spawn(follow_encryption(server.clone()));
    tokio::spawn(identity::run(server.clone(), config.identity.clone()));
    tokio::spawn(endpoints::run(server.clone(), config.advertise_address, config.advertise_port));
}

/// Takes changes of the encryption configuration over. A file that is no good is said once, and changes nothing.
async fn follow_encryption(server: ApiServer) {
    if !server.inner.core.feed.encryption().reloads() {
        return;
    }
    let stop = server.inner.stop.clone();
    let mut interval = tokio::time::interval(ENCRYPTION);
    let mut said = String::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        match server.reload_encryption() {
            Ok(false) => {}
            Ok(true) => tracing::warn!("the encryption configuration has changed and is in force"),
            Err(error) if error.to_string() != said => {
                said = error.to_string();
                tracing::error!(%error, "the encryption configuration is not taken over");
            }
            Err(_) => {}
        }
    }
}

//! The objects that a new platform has before anybody applies anything: a StorageClass, an
//! IngressClass, and the Service under which pods find the cluster's names. Made where they are
//! missing, and then the administrator's to change.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

pub async fn apply(client: &Client, network: &network::Config) -> Result<(), kube::Error> {
    make::<StorageClass>(Api::all(client.clone()), storage::default_class()).await?;
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": proxy::ingress::CLASS, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": proxy::ingress::CONTROLLER},
    });
    make::<IngressClass>(Api::all(client.clone()), class).await?;
    // Without a selector: the name server is on each node and answers at this very address.
    let dns = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": network.cluster_dns_ip, "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]},
    });
    make::<Service>(Api::namespaced(client.clone(), "kube-system"), dns).await
}

async fn make<K>(api: Api<K>, object: Value) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        // The address is taken by the object of the last start under the same name.
        Err(kube::Error::Api(status))
            if status.code == 422 && api.get_opt(object.meta().name.as_deref().unwrap_or("")).await?.is_some() =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}

//! Where the `kubernetes` Service leads: to every server that keeps its address in the store, by a lease that ends
//! soon after the server does. The addresses are where upstream keeps them, so its servers can stand beside ours.

use super::{Config, StartError, create};
use crate::server::ApiServer;
use bytes::Bytes;
use meta::{ApiError, GroupResource, value};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use store::{Error, LeaseId, Op, Range, Write};

const ADDRESSES: &str = "/registry/masterleases/";
/// Upstream's numbers.
const LASTS: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(10);

/// This server's address, as it is kept in the store.
struct Announcement {
    address: IpAddr,
    port: u16,
    lease: Option<LeaseId>,
}

/// Leads the Service here before anybody asks for it.
pub async fn announce(server: &ApiServer, config: &Config) -> Result<(), StartError> {
    let mut own = Announcement { address: config.advertise_address, port: config.advertise_port, lease: None };
    for object in own.objects(&BTreeSet::from([own.address])) {
        create(server, object).await?;
    }
    let what = "the endpoints of the kubernetes Service".to_string();
    own.keep(server).await.map_err(|source| StartError::Bootstrap { what, source })
}

pub async fn run(server: ApiServer, address: IpAddr, port: u16) {
    let stop = server.inner.stop.clone();
    let mut own = Announcement { address, port, lease: None };
    let mut interval = tokio::time::interval(RENEW);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = interval.tick() => {}
        }
        if let Err(error) = own.keep(&server).await {
            tracing::warn!(error = error.message, "the endpoints of the kubernetes Service could not be kept up to date");
        }
    }
    if let Err(error) = own.withdraw(&server).await {
        tracing::debug!(error = error.message, "this server's address goes when its lease ends");
    }
}

impl Announcement {
    async fn keep(&mut self, server: &ApiServer) -> Result<(), ApiError> {
        self.renew(server).await.map_err(crate::registry::store_error)?;
        if !self.reconcile(server).await?.contains(&self.address) {
            // Another server of this address has taken it along when it ended.
            self.lease = None;
            self.renew(server).await.map_err(crate::registry::store_error)?;
            self.reconcile(server).await?;
        }
        Ok(())
    }

    async fn renew(&mut self, server: &ApiServer) -> Result<(), Error> {
        let store = server.store();
        if let Some(lease) = self.lease {
            match store.lease_keep_alive(lease).await {
                Err(Error::LeaseNotFound(_)) => self.lease = None,
                result => return result,
            }
        }
        let lease = store.lease_grant(LASTS).await?;
        let address = json!({"kind": "Endpoints", "apiVersion": "v1", "metadata": {}, "subsets": [{"addresses": [{"ip": self.address}]}]});
        let op = Op::Put { value: Bytes::from(address.to_string()), lease };
        store.write(Write { key: format!("{ADDRESSES}{}", self.address), expected: None, op }).await?;
        self.lease = Some(lease);
        Ok(())
    }

    /// Brings the objects in line with the addresses that are in the store, and says which those are.
    async fn reconcile(&self, server: &ApiServer) -> Result<BTreeSet<IpAddr>, ApiError> {
        let found = server.store().range(Range::prefix(ADDRESSES)).await.map_err(crate::registry::store_error)?;
        let addresses: BTreeSet<IpAddr> = found.kvs.iter().filter_map(|kv| kv.key.strip_prefix(ADDRESSES)?.parse().ok()).collect();
        // None at all would cut off everybody.
        if addresses.is_empty() {
            return Ok(addresses);
        }
        let fields: [(_, &[&str]); 2] = [
            (GroupResource::new("discovery.k8s.io", "endpointslices"), &["endpoints", "ports"]),
            (GroupResource::new("", "endpoints"), &["subsets"]),
        ];
        for (object, (resource, fields)) in self.objects(&addresses).into_iter().zip(fields) {
            let change = |there: &mut Value| {
                fields.iter().for_each(|field| value::carry(there, &object, &[field]));
                Ok(())
            };
            match server.update_object(&resource, "default", "kubernetes", change).await {
                Err(error) if error.code == 404 => drop(server.create_object(&resource, object.clone()).await?),
                result => drop(result?),
            }
        }
        Ok(addresses)
    }

    async fn withdraw(&self, server: &ApiServer) -> Result<(), ApiError> {
        let Some(lease) = self.lease else { return Ok(()) };
        server.store().lease_revoke(lease).await.map_err(crate::registry::store_error)?;
        self.reconcile(server).await.map(drop)
    }

    /// The EndpointSlice and the Endpoints.
    fn objects(&self, addresses: &BTreeSet<IpAddr>) -> [Value; 2] {
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let ports = json!([{"name": "https", "port": self.port, "protocol": "TCP"}]);
        let endpoints: Vec<Value> = addresses.iter().map(|a| json!({"addresses": [a], "conditions": {"ready": true}})).collect();
        let listed: Vec<Value> = addresses.iter().map(|a| json!({"ip": a})).collect();
        [
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
                "endpoints": endpoints, "ports": ports,
            }),
            json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
                "subsets": [{"addresses": listed, "ports": ports}],
            }),
        ]
    }
}

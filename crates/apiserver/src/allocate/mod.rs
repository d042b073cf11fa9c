//! Addresses and node ports of Services. An address is taken by making the `IPAddress` object of its name,
//! which only one of many servers can; a node port by making a record of it in the store.

mod port_records;
mod ports;
mod sweep;

use crate::admission::{Acts, Operation, Plugin, Request};
use crate::server::ApiServer;
use async_trait::async_trait;
use ipnet::IpNet;
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, GroupResource, value};
use ports::Ports;
use rand::RngExt;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// How many addresses are tried at random before all are, in order.
const RANDOM_TRIES: usize = 32;

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a range of Service addresses")]
pub struct BadRange(String);

/// The admission plugin.
pub struct Services {
    range: IpNet,
    ports: Ports,
}

fn addresses() -> GroupResource {
    GroupResource::new("networking.k8s.io", "ipaddresses")
}

impl Services {
    pub fn new(range: &str, ports: RangeInclusive<u16>) -> Result<Self, BadRange> {
        let range = range.trim().parse::<IpNet>().map_err(|_| BadRange(range.into()))?.trunc();
        Ok(Self { range, ports: Ports::new(ports) })
    }

    fn at(&self, offset: u128) -> IpAddr {
        match self.range.network() {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from(u32::from(base).wrapping_add(u32::try_from(offset).unwrap_or(0)))),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base).wrapping_add(offset))),
        }
    }

    /// How many addresses can be given: without the network's own and, for IPv4, the broadcast's.
    fn size(&self) -> u128 {
        let bits = u32::from(self.range.max_prefix_len() - self.range.prefix_len());
        let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
        all.saturating_sub(if self.range.addr().is_ipv4() { 2 } else { 1 }).min(1 << 20)
    }

    async fn take(&self, request: &Request<'_>, address: IpAddr, namespace: &str, name: &str) -> Result<bool, ApiError> {
        if request.dry_run {
            return Ok(request.server.objects().get(&addresses(), "", &address.to_string()).is_none());
        }
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": address.to_string(), "labels": {
                "ipaddress.kubernetes.io/ip-family": if address.is_ipv4() { "IPv4" } else { "IPv6" },
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            }},
            "spec": {"parentRef": {"group": "", "resource": "services", "namespace": namespace, "name": name}},
        });
        match request.server.create_object(&addresses(), object).await {
            Ok(_) => Ok(true),
            // A create of the same Service that came to nothing may have left it.
            Err(error) if error.reason == "AlreadyExists" => {
                request.server.settle(None).await?;
                let there = request.server.objects().get(&addresses(), "", &address.to_string());
                Ok(there.is_some_and(|a| sweep::parent(&a.value()) == (namespace.to_string(), name.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    async fn any(&self, request: &Request<'_>, namespace: &str, name: &str) -> Result<IpAddr, ApiError> {
        let size = self.size();
        // The lower part is left to those who ask for an address of their choice.
        let reserved = (size / 16).clamp(16, 256).min(size / 2);
        for _ in 0..RANDOM_TRIES {
            let span = size.saturating_sub(reserved).max(1);
            let offset = reserved + 1 + rand::rng().random_range(0..span);
            if offset <= size && self.take(request, self.at(offset), namespace, name).await? {
                return Ok(self.at(offset));
            }
        }
        let upper = reserved + 1..=size;
        for offset in upper.chain(1..=reserved) {
            let address = self.at(offset);
            // What the cache knows to be taken costs no write.
            if request.server.objects().get(&addresses(), "", &address.to_string()).is_none()
                && self.take(request, address, namespace, name).await?
            {
                return Ok(address);
            }
        }
        Err(ApiError::internal("failed to allocate a serviceIP: range is full"))
    }

    async fn give_address(&self, request: &Request<'_>, service: &mut Value) -> Result<(), ApiError> {
        let namespace = request.attributes.namespace.clone();
        let name = value::text(service, &["metadata", "name"]).to_string();
        let wanted = value::text(service, &["spec", "clusterIP"]).to_string();
        let wanted = if wanted.is_empty() {
            value::items(service, &["spec", "clusterIPs"]).first().and_then(Value::as_str).unwrap_or_default().to_string()
        } else {
            wanted
        };
        let address = if wanted.is_empty() {
            self.any(request, &namespace, &name).await?
        } else {
            let refused = |why: &str| {
                let mut errors = FieldErrors::new();
                errors.invalid(&FieldPath::new("spec.clusterIPs"), json!([wanted]), why);
                ApiError::invalid(&GroupKind::new("", "Service"), &name, &errors)
            };
            // What is no address is refused by validation, with its own words.
            let Ok(address) = wanted.parse::<IpAddr>() else { return Ok(()) };
            if !self.range.contains(&address) {
                return Err(refused(&format!("failed to allocate IP {address}: the provided network does not match the current range")));
            }
            if !self.take(request, address, &namespace, &name).await? {
                return Err(refused(&format!("failed to allocate IP {address}: provided IP is already allocated")));
            }
            address
        };
        value::set(service, &["spec", "clusterIP"], address.to_string());
        value::set(service, &["spec", "clusterIPs"], json!([address.to_string()]));
        Ok(())
    }

    fn families(&self, service: &mut Value) {
        let family = if self.range.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        if value::items(service, &["spec", "ipFamilies"]).is_empty() {
            value::set(service, &["spec", "ipFamilies"], json!([family]));
        }
        value::default(service, &["spec", "ipFamilyPolicy"], "SingleStack");
    }
}

fn kind(service: &Value) -> &str {
    match value::text(service, &["spec", "type"]) {
        "" => "ClusterIP",
        kind => kind,
    }
}

fn headless(service: &Value) -> bool {
    value::text(service, &["spec", "clusterIP"]) == "None"
        || value::items(service, &["spec", "clusterIPs"]).first().is_some_and(|c| c == "None")
}

/// What an update leaves out of what was given at the create.
fn carry(service: &mut Value, old: &Value) {
    if kind(service) == "ExternalName" {
        return;
    }
    if kind(old) != "ExternalName" && value::text(service, &["spec", "clusterIP"]).is_empty() {
        value::carry(service, old, &["spec", "clusterIP"]);
        value::carry(service, old, &["spec", "clusterIPs"]);
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if kind(old) != "ExternalName" && value::at(service, &["spec", field]).is_none() {
            value::carry(service, old, &["spec", field]);
        }
    }
    ports::carry(service, old);
}

#[async_trait]
impl Plugin for Services {
    fn name(&self) -> &'static str {
        "ServiceAllocation"
    }

    fn acts(&self) -> Acts {
        Acts::Takes
    }

    async fn mutate(&self, request: &Request<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "services") {
            return Ok(());
        }
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let old = old.filter(|_| request.operation == Operation::Update);
        if let Some(old) = old {
            carry(service, old);
        }
        if kind(service) == "ExternalName" {
            if old.is_some_and(|o| kind(o) != "ExternalName") {
                for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
                    value::remove(service, &["spec", field]);
                }
                ports::clear(service);
            }
            return Ok(());
        }
        self.families(service);
        if headless(service) {
            value::set(service, &["spec", "clusterIP"], "None");
            value::set(service, &["spec", "clusterIPs"], json!(["None"]));
        } else if old.is_none_or(|o| kind(o) == "ExternalName" || headless(o)) {
            self.give_address(request, service).await?;
        }
        // Ports that others hold or have given back show in the Services of now.
        request.server.settle(None).await?;
        self.ports.give(request, service, old).await
    }
}

/// Gives back the addresses of a Service as soon as it is gone, so that the next may ask for them.
pub(crate) async fn freed(server: &ApiServer, resource: &GroupResource, service: &Value) {
    if resource.group.is_empty() && resource.resource == "services" {
        Box::pin(sweep::give_back(server, service, &[])).await;
        port_records::give_back(server, service, None).await;
    }
}

/// Gives back the addresses of Services that are gone, until the server's feed ends or `stop`.
pub async fn release(server: ApiServer, stop: tokio_util::sync::CancellationToken) {
    sweep::run(&server, stop).await;
}

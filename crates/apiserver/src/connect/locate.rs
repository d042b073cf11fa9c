//! Where what a path names can be reached: pods, their containers, nodes, services.

use super::client::Target;
use meta::{ApiError, GroupResource, value};
use rand::seq::IndexedRandom;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

use crate::objects::Objects;

const KUBELET_PORT: u16 = 10250;

pub fn object(objects: &dyn Objects, resource: &str, namespace: &str, name: &str) -> Result<Value, ApiError> {
    let resource = GroupResource::new("", resource);
    objects.get(&resource, namespace, name).map(|o| o.value()).ok_or_else(|| ApiError::not_found(&resource, name))
}

/// The container that is meant: the one of that name, or the only one.
pub fn container(pod: &Value, wanted: &str) -> Result<String, ApiError> {
    let pod_name = value::text(pod, &["metadata", "name"]);
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let names = lists.iter().flat_map(|l| value::items(pod, &["spec", l])).map(|c| value::text(c, &["name"]));
    if !wanted.is_empty() {
        let mut names = names;
        return match names.any(|n| n == wanted) {
            true => Ok(wanted.to_string()),
            false => Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {pod_name}"))),
        };
    }
    match value::items(pod, &["spec", "containers"]) {
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        [only] => Ok(value::text(only, &["name"]).to_string()),
        _ => {
            let names = names.collect::<Vec<_>>().join(" ");
            Err(ApiError::bad_request(format!("a container name must be specified for pod {pod_name}, choose one of: [{names}]")))
        }
    }
}

/// The kubelet of a node.
pub fn kubelet(objects: &dyn Objects, node: &str, tls: &Arc<rustls::ClientConfig>) -> Result<Target, ApiError> {
    let node = object(objects, "nodes", "", node)?;
    Ok(Target { host: node_address(&node)?, port: kubelet_port(&node), tls: Some(tls.clone()) })
}

pub fn kubelet_port(node: &Value) -> u16 {
    let port = value::int(node, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"]);
    port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0).unwrap_or(KUBELET_PORT)
}

pub fn node_address(node: &Value) -> Result<String, ApiError> {
    let addresses = value::items(node, &["status", "addresses"]);
    let of = |kind: &str| addresses.iter().find(|a| value::text(a, &["type"]) == kind).map(|a| value::text(a, &["address"]));
    let found = ["InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS"].into_iter().find_map(of);
    found
        .filter(|a| !a.is_empty())
        .map(str::to_string)
        .ok_or_else(|| ApiError::internal(format!("no preferred addresses found; known addresses: {}", Value::from(addresses.to_vec()))))
}

/// `name`, `name:port`, `scheme:name:port` of a proxied path.
pub struct Spot<'a> {
    pub scheme: &'a str,
    pub name: &'a str,
    pub port: &'a str,
}

impl<'a> Spot<'a> {
    pub fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let spot = match parts.as_slice() {
            [name] => Self { scheme: "", name, port: "" },
            [name, port] => Self { scheme: "", name, port },
            [scheme @ ("" | "http" | "https"), name, port] => Self { scheme, name, port },
            _ => return None,
        };
        (!spot.name.is_empty()).then_some(spot)
    }
}

/// The proxy leads into the cluster, not to this machine's own loopback or to a cloud's metadata.
pub fn proxyable(ip: &str) -> Result<(), ApiError> {
    let forbidden = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified(),
        Err(_) => false,
    };
    if forbidden { Err(ApiError::bad_request("address not allowed")) } else { Ok(()) }
}

pub fn pod(objects: &dyn Objects, namespace: &str, id: &str) -> Result<(String, u16, bool), ApiError> {
    let invalid = || ApiError::bad_request(format!("invalid pod request {id:?}"));
    let spot = Spot::parse(id).ok_or_else(invalid)?;
    let pod = object(objects, "pods", namespace, spot.name)?;
    let ip = value::text(&pod, &["status", "podIP"]);
    if ip.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have an address yet", spot.name)));
    }
    proxyable(ip)?;
    let https = spot.scheme == "https";
    let port = match spot.port {
        "" => {
            let ports = value::items(&pod, &["spec", "containers"]).iter().flat_map(|c| value::items(c, &["ports"]));
            let first = ports.filter_map(|p| value::int(p, &["containerPort"])).next().and_then(|p| u16::try_from(p).ok());
            first.unwrap_or(if https { 443 } else { 80 })
        }
        port => port.parse().map_err(|_| invalid())?,
    };
    Ok((ip.to_string(), port, https))
}

/// One of the ready endpoints, by chance.
pub fn service(objects: &dyn Objects, namespace: &str, id: &str) -> Result<(String, u16, bool), ApiError> {
    let spot = Spot::parse(id).ok_or_else(|| ApiError::bad_request(format!("invalid service request {id:?}")))?;
    let service = object(objects, "services", namespace, spot.name)?;
    let ports = value::items(&service, &["spec", "ports"]);
    let number = spot.port.parse::<i64>().ok();
    let chosen = match (spot.port, ports) {
        ("", [only]) => Some(only),
        ("", several) => several.iter().find(|p| value::text(p, &["name"]).is_empty()),
        (port, all) => {
            let named = all.iter().find(|p| value::text(p, &["name"]) == port);
            named.or_else(|| all.iter().find(|p| number.is_some() && value::int(p, &["port"]) == number))
        }
    };
    let chosen =
        chosen.ok_or_else(|| ApiError::unavailable(format!("no service port {:?} found for service {:?}", spot.port, spot.name)))?;
    let port_name = value::text(chosen, &["name"]);
    let slices = objects.list(&GroupResource::new("discovery.k8s.io", "endpointslices"), Some(namespace));
    let mut found: Vec<(String, u16)> = Vec::new();
    for slice in slices.iter().filter(|s| s.label("kubernetes.io/service-name") == Some(spot.name)) {
        let slice = slice.value();
        let port = value::items(&slice, &["ports"]).iter().find(|p| value::text(p, &["name"]) == port_name);
        let Some(port) = port.and_then(|p| u16::try_from(value::int(p, &["port"])?).ok()) else { continue };
        for endpoint in value::items(&slice, &["endpoints"]) {
            let ready = value::at(endpoint, &["conditions", "ready"]).and_then(Value::as_bool).unwrap_or(true);
            let address = value::items(endpoint, &["addresses"]).first().and_then(Value::as_str);
            found.extend(address.filter(|_| ready).map(|a| (a.to_string(), port)));
        }
    }
    let (ip, port) = found
        .choose(&mut rand::rng())
        .cloned()
        .ok_or_else(|| ApiError::unavailable(format!("no endpoints available for service {id:?}")))?;
    proxyable(&ip)?;
    Ok((ip, port, spot.scheme == "https"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_must_be_named_where_there_are_several() {
        let pod =
            json!({"metadata": {"name": "x"}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(container(&pod, "i").unwrap(), "i");
        assert_eq!(container(&pod, "").unwrap_err().message, "a container name must be specified for pod x, choose one of: [i a b]");
        assert_eq!(container(&pod, "c").unwrap_err().message, "container c is not valid for pod x");
    }

    #[test]
    fn proxied_names_may_have_a_scheme_and_a_port() {
        let parts = |id| Spot::parse(id).map(|s| (s.scheme, s.name, s.port));
        assert_eq!(parts("a"), Some(("", "a", "")));
        assert_eq!(parts("a:80"), Some(("", "a", "80")));
        assert_eq!(parts("https:a:web"), Some(("https", "a", "web")));
        assert!(parts("ftp:a:1").is_none() && parts("").is_none());
        assert!(proxyable("127.0.0.1").is_err() && proxyable("10.0.0.1").is_ok());
    }
}

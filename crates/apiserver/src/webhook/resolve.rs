//! Where the backends of a Service are, as the server's own caches have it, so that a webhook is reached whether or
//! not this machine routes Service addresses.

use crate::objects::Objects;
use meta::{GroupResource, value};
use rand::seq::IndexedRandom;
use serde_json::Value;

/// An address and port of one ready backend, by chance.
pub fn service(objects: &dyn Objects, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
    let found = objects.get(&GroupResource::new("", "services"), namespace, name);
    let service = found.ok_or_else(|| format!("services {name:?} not found"))?.value();
    let kind = value::text(&service, &["spec", "type"]);
    if kind == "ExternalName" {
        return Ok((value::text(&service, &["spec", "externalName"]).to_string(), port));
    }
    let ports = value::items(&service, &["spec", "ports"]);
    let wanted = ports.iter().find(|p| value::int(p, &["port"]) == Some(port.into()));
    let wanted = wanted.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let slices = objects.list(&GroupResource::new("discovery.k8s.io", "endpointslices"), Some(namespace));
    let of_service = slices.iter().filter(|s| s.label("kubernetes.io/service-name") == Some(name)).map(|s| s.value());
    let primary = value::items(&service, &["spec", "ipFamilies"]).first().and_then(Value::as_str).unwrap_or_default();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for slice in of_service {
        let into = if primary.is_empty() || value::text(&slice, &["addressType"]) == primary { &mut first } else { &mut others };
        ready(&slice, value::text(wanted, &["name"]), into);
    }
    let chosen = first.choose(&mut rand::rng()).or_else(|| others.choose(&mut rand::rng()));
    chosen.cloned().ok_or_else(|| format!("no endpoints available for service {name:?}"))
}

fn ready(slice: &Value, port: &str, into: &mut Vec<(String, u16)>) {
    let port = value::items(slice, &["ports"]).iter().find(|p| value::text(p, &["name"]) == port);
    let Some(port) = port.and_then(|p| u16::try_from(value::int(p, &["port"])?).ok()) else { return };
    for endpoint in value::items(slice, &["endpoints"]) {
        let ready = value::at(endpoint, &["conditions", "ready"]).and_then(Value::as_bool).unwrap_or(true);
        let address = value::items(endpoint, &["addresses"]).first().and_then(Value::as_str);
        into.extend(address.filter(|_| ready).map(|a| (a.to_string(), port)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::rbac::tests::Fixed;
    use serde_json::json;

    #[test]
    fn a_ready_endpoint_of_the_named_port_is_taken_and_else_it_is_said_what_is_missing() {
        let service = |name: &str| {
            let ports = json!([{"name": "a", "port": 443}, {"name": "b", "port": 8443}]);
            json!({"metadata": {"namespace": "n", "name": name}, "spec": {"ports": ports, "ipFamilies": ["IPv4"]}})
        };
        let slice = |name: &str, family: &str, endpoints: Value| {
            json!({"metadata": {"namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": "s"}}, "addressType": family,
                "ports": [{"name": "a", "port": 1443}, {"name": "b", "port": 9443}], "endpoints": endpoints})
        };
        let slices = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}, {"addresses": ["10.0.0.2"]}]);
        let objects = Fixed::of(&[
            ("", "services", service("s")),
            ("", "services", service("bare")),
            ("discovery.k8s.io", "endpointslices", slice("s-4", "IPv4", slices)),
            ("discovery.k8s.io", "endpointslices", slice("s-6", "IPv6", json!([{"addresses": ["fd00::1"]}]))),
        ]);
        let found = |name: &str, port: u16| service_of(&objects, name, port);
        assert_eq!(found("s", 8443), Ok(("10.0.0.2".into(), 9443)));
        assert_eq!(found("s", 1), Err("no service port 1 found for service \"s\"".into()));
        assert_eq!(found("bare", 443), Err("no endpoints available for service \"bare\"".into()));
        assert_eq!(found("none", 443), Err("services \"none\" not found".into()));
    }

    fn service_of(objects: &Fixed, name: &str, port: u16) -> Result<(String, u16), String> {
        super::service(objects, "n", name, port)
    }
}

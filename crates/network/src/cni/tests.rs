use super::*;
use crate::lab::{Host, Namespace, address_of};
use serde_json::{Value, json};

fn environment(command: &str) -> Environment {
    Environment { command: Some(command.into()), container: Some("c1".into()), namespace: None, interface: Some("eth0".into()) }
}

#[test]
fn a_pod_is_attached_checked_and_detached() {
    let Some(host) = Host::new() else { return };
    let (a, first) = host.pod("a");
    let (b, second) = host.pod("b");
    assert_ne!(first, second);
    host.plugin("CHECK", &a, json!({})).expect("attached");

    // Over the node's IP layer, in both directions, and to the node itself.
    assert_eq!(a.ask(second, 8080).unwrap(), format!("b {first}"));
    assert_eq!(host.namespace.ask(first, 8080).unwrap(), format!("a {}", host.config.gateway()));

    assert_eq!(address_of(&host.plugin("ADD", &a, json!({})).unwrap()), first, "a repeated call makes the same attachment");
    assert_eq!(b.ask(first, 8080).unwrap(), format!("a {second}"));
    host.plugin("DEL", &b, json!({})).unwrap();
    host.plugin("DEL", &b, json!({})).expect("a second time is fine");
    assert!(matches!(host.plugin("CHECK", &b, json!({})), Err(CniError::NotAttached(_))));
    assert!(host.namespace.run(|| Leases::open(&host.config.state_dir).unwrap().all().unwrap()).iter().all(|(held, ..)| *held != second));
}

#[test]
fn a_host_port_leads_to_its_pod_until_it_is_detached() {
    let Some(host) = Host::new() else { return };
    let outside = Namespace::new().unwrap();
    host.namespace.cable("192.0.2.1/24", &outside, "192.0.2.2/24");
    let pod = Namespace::new().unwrap();
    let ports = json!({"portMappings": [{"HostPort": 9090, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}, {"hostPort": 0, "containerPort": 1}]});
    let address = address_of(&host.plugin("ADD", &pod, ports).unwrap());
    pod.serve(8080, "pod");
    let node = "192.0.2.1".parse().unwrap();
    assert_eq!(outside.ask(node, 9090).unwrap(), "pod 192.0.2.2", "from outside, with the client's address");
    assert!(host.namespace.ask(node, 9090).unwrap().starts_with("pod "), "from the node");
    let loopback = "127.0.0.1".parse().unwrap();
    assert!(host.namespace.ask(loopback, 9090).unwrap().starts_with("pod "), "from the node's loopback");
    assert!(pod.ask(node, 9090).unwrap().starts_with("pod "), "from the pod itself");
    // A restart of the node's program finds the port again.
    host.namespace.run(|| crate::prepare_host(&host.config, std::path::Path::new("/bin/true"))).unwrap();
    assert_eq!(outside.ask(node, 9090).unwrap(), "pod 192.0.2.2");
    host.plugin("DEL", &pod, json!({})).unwrap();
    assert!(outside.ask(node, 9090).is_err());
    assert!(!host.namespace.shell("nft list table ip socle-hostports").contains(&address.to_string()));
}

#[test]
fn errors_are_told_in_the_form_of_the_specification() {
    let version: Value = serde_json::from_str(&call(&environment("VERSION"), b"{\"cniVersion\":\"0.4.0\"}").unwrap()).unwrap();
    assert_eq!(version["supportedVersions"], json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0"]));

    let network = json!({"cniVersion": "1.0.0", "bridge": "b", "podCIDR": "10.42.0.0/24", "mtu": 1500, "stateDir": "/nonexistent"});
    let code = |environment: Environment, input: &str| {
        let error = call(&environment, input.as_bytes()).unwrap_err();
        let told: Value = serde_json::from_str(&respond::failure("1.0.0".into(), &error)).unwrap();
        told["code"].as_u64().unwrap()
    };
    assert_eq!(code(environment("FLY"), "{}"), 4);
    assert_eq!(code(environment("ADD"), "{"), 6);
    assert_eq!(code(environment("ADD"), &network.to_string()), 4, "no namespace");
    assert_eq!(code(Environment { container: Some("../x".into()), ..environment("ADD") }, &network.to_string()), 4);
    let mut future = network.clone();
    future["cniVersion"] = json!("9.0.0");
    assert_eq!(code(environment("ADD"), &future.to_string()), 1);
    let mut narrow = network;
    narrow["podCIDR"] = json!("10.42.0.0/31");
    assert_eq!(code(environment("DEL"), &narrow.to_string()), 7);
}

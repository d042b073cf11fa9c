//! The table in the real kernel, with pods that the CNI plugin attached.

use super::table::{Protocol, ServicePort};
use super::*;
use crate::lab::{Host, Namespace, PATIENCE};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 80);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn port(protocol: Protocol, endpoints: &[Ipv4Addr]) -> ServicePort {
    let all: BTreeSet<_> = endpoints.iter().map(|ip| SocketAddrV4::new(*ip, 8080)).collect();
    ServicePort {
        id: format!("n/web/{protocol}/80"),
        protocol,
        port: 80,
        cluster_ip: SERVICE,
        node_port: Some(30080),
        external_ips: BTreeSet::from([Ipv4Addr::new(203, 0, 113, 5)]),
        load_balancer_ips: BTreeSet::new(),
        source_ranges: BTreeSet::new(),
        affinity: None,
        internal_local: false,
        external_local: false,
        cluster: all.clone(),
        local: all,
        own: endpoints.iter().copied().collect(),
    }
}

struct Lab {
    host: Host,
    outside: Namespace,
    kernel: Kernel,
}

impl Lab {
    fn new() -> Option<Self> {
        let host = Host::new()?;
        let outside = Namespace::new()?;
        host.namespace.cable("192.0.2.1/24", &outside, "192.0.2.2/24");
        outside.shell("ip route add default via 192.0.2.1");
        host.namespace.shell("ip route add default via 192.0.2.2");
        let kernel = Kernel::new(&host.config);
        Some(Self { host, outside, kernel })
    }

    fn apply(&mut self, table: &[ServicePort]) {
        let kernel = &mut self.kernel;
        self.host.namespace.run(|| kernel.apply(table)).expect("a table that the kernel takes");
    }
}

#[test]
fn a_service_is_reached_from_pods_from_the_node_and_from_outside() {
    let Some(mut lab) = Lab::new() else { return };
    let (a, first) = lab.host.pod("a");
    let (b, _) = lab.host.pod("b");
    lab.apply(&[port(Protocol::Tcp, &[first])]);

    assert_eq!(b.ask(SERVICE, 80).unwrap(), "a 10.42.0.3", "a pod keeps its address");
    assert_eq!(a.ask(SERVICE, 80).unwrap(), "a 10.42.0.1", "a pod that reaches itself");
    assert!(lab.host.namespace.ask(SERVICE, 80).unwrap().starts_with("a "));
    assert_eq!(lab.outside.ask(NODE, 30080).unwrap(), "a 10.42.0.1");
    assert_eq!(lab.outside.ask(Ipv4Addr::new(203, 0, 113, 5), 80).unwrap(), "a 10.42.0.1");
    assert!(lab.host.namespace.ask(NODE, 30080).unwrap().starts_with("a "));
    assert!(b.ask(NODE, 30080).unwrap().starts_with("a "));
    assert!(b.ask(lab.host.config.gateway(), 30080).unwrap().starts_with("a "));

    // Only this node's pods, with the client's address.
    let mut local = port(Protocol::Tcp, &[first]);
    local.external_local = true;
    lab.apply(&[local]);
    assert_eq!(lab.outside.ask(NODE, 30080).unwrap(), "a 192.0.2.2");
    assert!(lab.host.namespace.ask(NODE, 30080).unwrap().starts_with("a "));
    assert_eq!(b.ask(NODE, 30080).unwrap(), "a 10.42.0.3");
}

#[test]
fn a_service_without_endpoints_refuses_and_so_does_an_unknown_port() {
    let Some(mut lab) = Lab::new() else { return };
    let (a, first) = lab.host.pod("a");
    lab.apply(&[port(Protocol::Tcp, &[])]);
    let refused = |outcome: std::io::Result<String>| outcome.unwrap_err().kind() == std::io::ErrorKind::ConnectionRefused;
    assert!(refused(a.ask(SERVICE, 80)));
    assert!(refused(lab.host.namespace.ask(SERVICE, 80)));
    assert!(refused(lab.outside.ask(NODE, 30080)));
    assert!(refused(lab.outside.ask(Ipv4Addr::new(203, 0, 113, 5), 80)));
    lab.apply(&[port(Protocol::Tcp, &[first])]);
    assert!(refused(a.ask(SERVICE, 81)));
    assert!(refused(lab.host.namespace.ask(SERVICE, 81)));
    assert!(a.ask(SERVICE, 80).is_ok());
}

#[test]
fn connections_are_spread_unless_a_client_stays_with_its_pod() {
    let Some(mut lab) = Lab::new() else { return };
    let (_a, first) = lab.host.pod("a");
    let (_b, second) = lab.host.pod("b");
    let client = lab.host.pod("client").0;
    let names = |count: usize| -> BTreeSet<String> {
        (0..count).map(|_| client.ask(SERVICE, 80).unwrap().split(' ').next().unwrap_or_default().to_string()).collect()
    };
    lab.apply(&[port(Protocol::Tcp, &[first, second])]);
    assert_eq!(names(64).len(), 2);
    let mut sticky = port(Protocol::Tcp, &[first, second]);
    sticky.affinity = Some(60);
    lab.apply(&[sticky.clone()]);
    let chosen = names(16);
    assert_eq!(chosen.len(), 1);
    // Another endpoint beside it changes nothing for this client; the loss of its own does.
    sticky.cluster.insert("10.42.0.200:8080".parse().unwrap());
    lab.apply(&[sticky.clone()]);
    assert_eq!(names(16), chosen);
    let other = if chosen.contains("a") { second } else { first };
    sticky.cluster = BTreeSet::from([SocketAddrV4::new(other, 8080)]);
    lab.apply(&[sticky]);
    assert_ne!(names(4), chosen);
    lab.apply(&[]);
}

#[test]
fn a_udp_client_that_goes_on_sending_is_led_to_the_new_endpoint() {
    let Some(mut lab) = Lab::new() else { return };
    let (_a, first) = lab.host.pod("a");
    let (_b, second) = lab.host.pod("b");
    let client = lab.host.pod("client").0;
    let socket = client.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = || {
        let mut buffer = [0; 64];
        socket.send_to(b"?", (SERVICE, 80)).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..1.min(length)]).into_owned()
    };
    lab.apply(&[port(Protocol::Udp, &[first])]);
    assert_eq!(ask(), "a");
    lab.apply(&[port(Protocol::Udp, &[second])]);
    assert_eq!(ask(), "b");
}

#[test]
fn a_table_that_somebody_flushed_is_put_back() {
    let Some(mut lab) = Lab::new() else { return };
    let (a, first) = lab.host.pod("a");
    lab.apply(&[port(Protocol::Tcp, &[first])]);
    lab.host.namespace.shell("nft flush ruleset");
    lab.host.namespace.run(|| lab.kernel.look());
    lab.apply(&[port(Protocol::Tcp, &[first])]);
    assert!(a.ask(SERVICE, 80).is_ok());
    // And where nobody looked, by the next change.
    lab.host.namespace.shell("nft flush ruleset");
    lab.apply(&[
        port(Protocol::Tcp, &[first]),
        ServicePort { cluster_ip: Ipv4Addr::new(10, 43, 0, 81), id: "x".into(), ..port(Protocol::Tcp, &[first]) },
    ]);
    assert!(a.ask(Ipv4Addr::new(10, 43, 0, 81), 80).is_ok());
}

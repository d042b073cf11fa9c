use super::*;

fn frame() -> Frame {
    Frame {
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        dns: Ipv4Addr::new(10, 43, 0, 10),
    }
}

fn port(id: &str, cluster_ip: &str, endpoints: &[&str]) -> ServicePort {
    let endpoints: BTreeSet<SocketAddrV4> = endpoints.iter().map(|e| e.parse().unwrap()).collect();
    ServicePort {
        id: id.into(),
        protocol: Protocol::Tcp,
        port: 80,
        cluster_ip: cluster_ip.parse().unwrap(),
        node_port: None,
        external_ips: BTreeSet::new(),
        load_balancer_ips: BTreeSet::new(),
        source_ranges: BTreeSet::new(),
        affinity: None,
        internal_local: false,
        external_local: false,
        local: BTreeSet::new(),
        own: BTreeSet::new(),
        cluster: endpoints,
    }
}

fn script(table: &[ServicePort]) -> String {
    Ruleset::default().difference(&Ruleset::build(&frame(), table))
}

#[test]
fn a_cluster_ip_is_spread_over_its_endpoints() {
    let mut two = port("n/web/tcp/80", "10.43.0.1", &["10.42.0.2:8080", "10.42.1.2:8080"]);
    two.own = BTreeSet::from([Ipv4Addr::new(10, 42, 0, 2)]);
    let expected = "\
add chain ip socle-services service-96fe27b1-n/web/tcp/80
add rule ip socle-services service-96fe27b1-n/web/tcp/80 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.42.0.2 . 8080, 1 : 10.42.1.2 . 8080 }
add element ip socle-services cluster-ips { 10.43.0.1 }
add element ip socle-services hairpin { 10.42.0.2 . 10.42.0.2 }
add element ip socle-services service-ips { 10.43.0.1 . tcp . 80 : goto service-96fe27b1-n/web/tcp/80 }
";
    assert_eq!(script(&[two]), expected);
}

#[test]
fn nobody_behind_a_service_is_a_refusal_and_nobody_here_is_a_drop() {
    let mut none = port("n/a/tcp/80", "10.43.0.1", &[]);
    none.node_port = Some(30080);
    let mut elsewhere = port("n/b/tcp/80", "10.43.0.2", &["10.42.1.2:8080"]);
    elsewhere.internal_local = true;
    let expected = "\
add element ip socle-services cluster-ips { 10.43.0.1, 10.43.0.2 }
add element ip socle-services no-endpoint-ips { 10.43.0.1 . tcp . 80 : goto refuse, 10.43.0.2 . tcp . 80 : drop }
add element ip socle-services no-endpoint-nodeports { tcp . 30080 : goto refuse }
";
    assert_eq!(script(&[none, elsewhere]), expected);
}

#[test]
fn external_traffic_stays_here_if_it_must_and_keeps_its_source() {
    let mut local = port("n/a/tcp/80", "10.43.0.1", &["10.42.0.2:8080", "10.42.1.2:8080"]);
    local.external_local = true;
    local.local = BTreeSet::from(["10.42.0.2:8080".parse().unwrap()]);
    local.node_port = Some(30080);
    local.load_balancer_ips = BTreeSet::from([Ipv4Addr::new(192, 0, 2, 7)]);
    local.source_ranges = BTreeSet::from(["198.51.100.0/24".parse().unwrap()]);
    let ruleset = Ruleset::build(&frame(), &[local.clone()]);
    let chain =
        |kind: &str| ruleset.chains.iter().find(|(name, _)| name.starts_with(kind)).map(|(_, rules)| rules.join("\n")).unwrap_or_default();
    let expected = "\
ip saddr 10.42.0.0/16 goto service-6ec8bfa2-n/a/tcp/80
fib saddr type local jump mark-for-masquerade
fib saddr type local goto service-6ec8bfa2-n/a/tcp/80
goto local-6ec8bfa2-n/a/tcp/80";
    assert_eq!(chain("external"), expected);
    assert_eq!(chain("firewall"), "ip saddr { 198.51.100.0/24 } return\ndrop");
    local.external_local = false;
    let ruleset = Ruleset::build(&frame(), &[local]);
    let external = ruleset.chains.iter().find(|(name, _)| name.starts_with("external")).unwrap().1;
    assert_eq!(external.join("\n"), "jump mark-for-masquerade\ngoto service-6ec8bfa2-n/a/tcp/80");
}

#[test]
fn a_change_touches_what_changed_only() {
    let a = port("n/a/tcp/80", "10.43.0.1", &["10.42.0.2:8080"]);
    let b = port("n/b/tcp/80", "10.43.0.2", &["10.42.0.3:8080"]);
    let before = Ruleset::build(&frame(), &[a.clone(), b]);
    let after = Ruleset::build(&frame(), &[port("n/a/tcp/80", "10.43.0.1", &["10.42.0.9:8080"])]);
    let expected = "\
flush chain ip socle-services service-6ec8bfa2-n/a/tcp/80
add rule ip socle-services service-6ec8bfa2-n/a/tcp/80 meta l4proto tcp dnat to 10.42.0.9:8080
delete element ip socle-services cluster-ips { 10.43.0.2 }
delete element ip socle-services service-ips { 10.43.0.2 . tcp . 80 }
flush chain ip socle-services service-42049d4d-n/b/tcp/80
delete chain ip socle-services service-42049d4d-n/b/tcp/80
";
    assert_eq!(before.difference(&after), expected);
    assert_eq!(after.difference(&after.clone()), "");
}

#[test]
fn the_clusters_dns_is_never_translated() {
    let mut dns = port("kube-system/kube-dns/tcp/53", "10.43.0.10", &["10.42.0.2:53"]);
    dns.port = 53;
    let ruleset = Ruleset::build(&frame(), &[dns]);
    assert!(ruleset.elements.is_empty());
}

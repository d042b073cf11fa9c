use super::*;
use serde_json::{Value, json};

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).expect("an object"))
}

fn key(name: &str) -> Key {
    ("n".into(), name.into())
}

/// `web` (a cluster IP), `db` (headless, two pods, one named) and `out` (external).
pub fn zone() -> Zone {
    let mut zone = Zone::new(&Config::default());
    zone.set_namespace("n", true);
    let web = json!({"clusterIP": "10.43.0.80", "clusterIPs": ["10.43.0.80"], "ports": [{"name": "http", "port": 80}, {"name": "q", "port": 81, "protocol": "UDP"}]});
    let db = json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]});
    let out = json!({"type": "ExternalName", "externalName": "Web.n.svc.cluster.local."});
    for (name, spec) in [("web", web), ("db", db), ("out", out), ("far", json!({"type": "ExternalName", "externalName": "far.example."}))] {
        zone.set_service(key(name), Some(parse(json!({"metadata": {"namespace": "n", "name": name}, "spec": spec}))));
    }
    let slice = json!({
        "metadata": {"namespace": "n", "name": "db-1"}, "addressType": "IPv4", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.42.0.6"]},
            {"addresses": ["10.42.0.7"], "conditions": {"ready": false}},
        ],
    });
    zone.set_slice(key("db"), "db-1", Some(parse(slice)));
    zone
}

fn look(zone: &Zone, name: &str, wanted: Wanted) -> Lookup {
    zone.lookup(&name.split('.').collect::<Vec<_>>(), wanted)
}

fn a(of: &[[u8; 4]]) -> Lookup {
    Lookup::Found(of.iter().map(|octets| Data::A(Ipv4Addr::from(*octets))).collect())
}

#[test]
fn names_of_services_and_of_their_endpoints() {
    let zone = zone();
    assert_eq!(look(&zone, "web.n.svc.cluster.local", Wanted::Address), a(&[[10, 43, 0, 80]]));
    assert_eq!(look(&zone, "web.n.svc.cluster.local", Wanted::Other), Lookup::Found(vec![]), "no AAAA, but the name exists");
    assert_eq!(look(&zone, "db.n.svc.cluster.local", Wanted::Address), a(&[[10, 42, 0, 5], [10, 42, 0, 6]]), "ready ones");
    assert_eq!(look(&zone, "db-0.db.n.svc.cluster.local", Wanted::Address), a(&[[10, 42, 0, 5]]));
    assert_eq!(look(&zone, "10-42-0-6.db.n.svc.cluster.local", Wanted::Address), a(&[[10, 42, 0, 6]]));
    assert_eq!(look(&zone, "10-42-0-9.n.pod.cluster.local", Wanted::Address), a(&[[10, 42, 0, 9]]));
    assert_eq!(look(&zone, "out.n.svc.cluster.local", Wanted::Address), Lookup::Found(vec![Data::Cname("web.n.svc.cluster.local".into())]));
    for missing in [
        "x.n.svc.cluster.local",
        "web.m.svc.cluster.local",
        "m.svc.cluster.local",
        "x.web.n.svc.cluster.local",
        "10-42-0-9.m.pod.cluster.local",
        "web.n.cluster.local",
    ] {
        assert_eq!(look(&zone, missing, Wanted::Address), Lookup::NoName, "{missing}");
    }
    for parent in ["cluster.local", "svc.cluster.local", "n.svc.cluster.local", "_tcp.web.n.svc.cluster.local"] {
        assert_eq!(look(&zone, parent, Wanted::Address), Lookup::Found(vec![]), "{parent}");
    }
    for foreign in ["example.com", "local", "xcluster.local"] {
        assert_eq!(look(&zone, foreign, Wanted::Address), Lookup::Foreign, "{foreign}");
    }
}

#[test]
fn ports_have_names_too() {
    let zone = zone();
    let web = |port| Data::Srv(port, "web.n.svc.cluster.local".into());
    assert_eq!(look(&zone, "_http._tcp.web.n.svc.cluster.local", Wanted::Srv), Lookup::Found(vec![web(80)]));
    assert_eq!(look(&zone, "_q._udp.web.n.svc.cluster.local", Wanted::Srv), Lookup::Found(vec![web(81)]));
    assert_eq!(look(&zone, "_q._tcp.web.n.svc.cluster.local", Wanted::Srv), Lookup::NoName);
    let of = |host: &str| Data::Srv(5432, format!("{host}.db.n.svc.cluster.local"));
    assert_eq!(look(&zone, "_sql._tcp.db.n.svc.cluster.local", Wanted::Srv), Lookup::Found(vec![of("10-42-0-6"), of("db-0")]));
}

#[test]
fn addresses_lead_back_to_names_until_these_go() {
    let mut zone = zone();
    let names = |of: &[&str]| Lookup::Found(of.iter().map(|n| Data::Ptr(n.to_string())).collect());
    assert_eq!(look(&zone, "80.0.43.10.in-addr.arpa", Wanted::Ptr), names(&["web.n.svc.cluster.local"]));
    assert_eq!(look(&zone, "5.0.42.10.in-addr.arpa", Wanted::Ptr), names(&["db-0.db.n.svc.cluster.local"]));
    assert_eq!(look(&zone, "99.0.42.10.in-addr.arpa", Wanted::Ptr), Lookup::NoName);
    assert_eq!(look(&zone, "1.2.0.192.in-addr.arpa", Wanted::Ptr), Lookup::Foreign);
    zone.set_slice(key("db"), "db-1", None);
    assert_eq!(look(&zone, "5.0.42.10.in-addr.arpa", Wanted::Ptr), Lookup::NoName);
    assert_eq!(look(&zone, "db.n.svc.cluster.local", Wanted::Address), Lookup::Found(vec![]));
    zone.set_service(key("db"), None);
    assert_eq!(look(&zone, "db.n.svc.cluster.local", Wanted::Address), Lookup::NoName);
    assert!(zone.reverse.len() == 1 && zone.services.len() == 3);
}

use super::*;
use serde_json::{Value, json};

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).expect("an object"))
}

fn place() -> Place {
    Place { node: "here".into(), zone: Some("z1".into()) }
}

fn one(spec: Value, endpoints: Value) -> Option<ServicePort> {
    let service = parse(json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec}));
    let slice = parse(json!({
        "metadata": {"namespace": "n", "name": "s-1"}, "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    }));
    let slices = Slices::from([(("n".to_string(), "s".to_string()), vec![slice])]);
    build(&[service], &slices, &place()).pop()
}

fn plain() -> Value {
    json!({"clusterIP": "10.43.0.1", "ports": [{"port": 80, "protocol": "TCP"}]})
}

fn ips(of: &BTreeSet<SocketAddrV4>) -> Vec<String> {
    of.iter().map(|a| a.ip().to_string()).collect()
}

#[test]
fn terminating_endpoints_serve_only_where_none_is_ready() {
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    let endpoints = json!([
        {"addresses": ["10.42.0.2"], "nodeName": "here", "conditions": leaving},
        {"addresses": ["10.42.0.3"], "nodeName": "here", "conditions": {"ready": false, "serving": false, "terminating": true}},
        {"addresses": ["10.42.1.2"], "nodeName": "there", "conditions": {"ready": true}},
        {"addresses": ["10.42.1.3"], "nodeName": "there", "conditions": {"ready": false, "serving": false}},
    ]);
    let port = one(plain(), endpoints).unwrap();
    assert_eq!(ips(&port.cluster), ["10.42.1.2"]);
    assert_eq!(ips(&port.local), ["10.42.0.2"], "the choice is made for this node alone");
    let port = one(plain(), json!([{"addresses": ["10.42.0.2"], "nodeName": "here", "conditions": leaving}])).unwrap();
    assert_eq!(ips(&port.cluster), ["10.42.0.2"]);
}

#[test]
fn headless_external_and_foreign_services_are_none_of_ours() {
    assert!(one(json!({"clusterIP": "None", "ports": [{"port": 80}]}), json!([])).is_none());
    assert!(one(json!({"type": "ExternalName", "externalName": "x.test"}), json!([])).is_none());
    let service = json!({"metadata": {"namespace": "n", "name": "s", "labels": {FOREIGN_PROXY: "other"}}, "spec": plain()});
    assert!(build(&[parse(service)], &Slices::new(), &place()).is_empty());
}

#[test]
fn hints_are_followed_only_if_they_leave_somebody() {
    let hinted = |ip: &str, hints: Value| json!({"addresses": [ip], "nodeName": "there", "hints": hints});
    let zones = |a: &str, b: &str| {
        json!([hinted("10.42.1.1", json!({"forZones": [{"name": a}]})), hinted("10.42.1.2", json!({"forZones": [{"name": b}]}))])
    };
    assert_eq!(ips(&one(plain(), zones("z1", "z2")).unwrap().cluster), ["10.42.1.1"]);
    assert_eq!(ips(&one(plain(), zones("z3", "z2")).unwrap().cluster).len(), 2, "nobody is for our zone");
    let mut partly = zones("z1", "z2");
    partly[1].as_object_mut().unwrap().remove("hints");
    assert_eq!(ips(&one(plain(), partly).unwrap().cluster).len(), 2, "one has no hint");
    let nodes = json!([
        hinted("10.42.1.1", json!({"forNodes": [{"name": "here"}]})),
        hinted("10.42.1.2", json!({"forNodes": [{"name": "there"}]}))
    ]);
    assert_eq!(ips(&one(plain(), nodes).unwrap().cluster), ["10.42.1.1"]);
}

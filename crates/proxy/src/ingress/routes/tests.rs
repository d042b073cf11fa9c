use super::*;
use serde_json::{Value, json};

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).expect("an object"))
}

/// Services `a`, `b`, `c` with one pod each, at 10.0.0.1, .2 and .3.
fn objects(ingresses: Vec<Value>) -> Objects {
    let mut objects = Objects {
        classes: vec![parse(
            json!({"metadata": {"name": "socle", "annotations": {DEFAULT_CLASS: "true"}}, "spec": {"controller": CONTROLLER}}),
        )],
        ingresses: ingresses.into_iter().map(parse).collect(),
        ..Objects::default()
    };
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        let key = ("n".to_string(), name.to_string());
        let service = json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"ports": [{"name": "http", "port": 80}]}});
        objects.services.insert(key.clone(), parse(service));
        let slice = json!({
            "metadata": {"name": name, "namespace": "n"}, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [format!("10.0.0.{}", i + 1)], "conditions": {"ready": true}}],
        });
        objects.slices.insert(key, vec![parse(slice)]);
    }
    objects
}

fn backend(name: &str) -> Value {
    json!({"service": {"name": name, "port": {"number": 80}}})
}

fn ingress(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})
}

fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths: Vec<Value> = paths.iter().map(|(ty, path, to)| json!({"pathType": ty, "path": path, "backend": backend(to)})).collect();
    json!({"host": host, "http": {"paths": paths}})
}

fn first(table: &Table, host: &str, path: &str) -> Option<String> {
    table.route(host, path)?.turn().next().map(|a| a.to_string())
}

#[test]
fn an_exact_path_wins_over_a_prefix_and_a_longer_prefix_over_a_shorter() {
    let paths = [("Prefix", "/", "a"), ("Prefix", "/shop", "b"), ("Exact", "/shop", "c")];
    let table = Table::build(&objects(vec![ingress("i", json!({"rules": [rule("x.test", &paths)]}))]));
    assert_eq!(first(&table, "x.test", "/shop").as_deref(), Some("10.0.0.3:8080"));
    assert_eq!(first(&table, "x.test", "/shop/cart").as_deref(), Some("10.0.0.2:8080"));
    assert_eq!(first(&table, "X.TEST", "/shopping").as_deref(), Some("10.0.0.1:8080"));
    assert_eq!(first(&table, "other.test", "/"), None);
}

#[test]
fn a_wildcard_covers_one_label_and_yields_to_the_exact_host() {
    let rules = json!([rule("*.x.test", &[("Prefix", "/", "a")]), rule("b.x.test", &[("Prefix", "/", "b")])]);
    let table = Table::build(&objects(vec![ingress("i", json!({"rules": rules}))]));
    assert_eq!(first(&table, "a.x.test", "/").as_deref(), Some("10.0.0.1:8080"));
    assert_eq!(first(&table, "b.x.test", "/").as_deref(), Some("10.0.0.2:8080"));
    assert_eq!(first(&table, "a.b.x.test", "/"), None);
    assert_eq!(first(&table, "x.test", "/"), None);
}

#[test]
fn what_no_rule_matches_goes_to_the_default_backend() {
    let table = Table::build(&objects(vec![ingress(
        "i",
        json!({"defaultBackend": backend("c"), "rules": [rule("x.test", &[("Exact", "/a", "a")])]}),
    )]));
    assert_eq!(first(&table, "x.test", "/b").as_deref(), Some("10.0.0.3:8080"));
    assert_eq!(first(&table, "10.1.1.1", "/").as_deref(), Some("10.0.0.3:8080"));
}

#[test]
fn a_missing_service_takes_its_path_and_has_no_endpoints() {
    let table = Table::build(&objects(vec![ingress("i", json!({"rules": [rule("x.test", &[("Prefix", "/", "gone")])]}))]));
    assert!(table.route("x.test", "/").is_some_and(|b| b.endpoints.is_empty()));
}

#[test]
fn an_ingress_of_another_class_is_left_alone() {
    let spec = json!({"ingressClassName": "nginx", "rules": [rule("x.test", &[("Prefix", "/", "a")])]});
    let table = Table::build(&objects(vec![ingress("i", spec)]));
    assert!(table.route("x.test", "/").is_none());
}

#[test]
fn a_terminating_endpoint_serves_only_while_no_other_is_ready() {
    let leaving = json!({"addresses": ["10.0.0.9"], "conditions": {"ready": false, "serving": true, "terminating": true}});
    let slice = |endpoints: Vec<Value>| {
        vec![parse::<EndpointSlice>(
            json!({"metadata": {}, "addressType": "IPv4", "ports": [{"name": "http", "port": 1}], "endpoints": endpoints}),
        )]
    };
    let ready = json!({"addresses": ["10.0.0.1"]});
    assert_eq!(endpoints_of(&slice(vec![leaving.clone()]), "http").len(), 1);
    assert_eq!(endpoints_of(&slice(vec![leaving, ready]), "http"), ["10.0.0.1:1".parse().unwrap()]);
}

#[test]
fn certificates_are_found_by_host_and_by_wildcard() {
    let spec = json!({"tls": [{"hosts": ["*.x.test"], "secretName": "w"}, {"hosts": ["a.x.test"], "secretName": "e"}]});
    let table = Table::build(&objects(vec![ingress("i", spec)]));
    assert_eq!(table.certificate("a.x.test").map(|c| c.1.as_str()), Some("e"));
    assert_eq!(table.certificate("b.x.test").map(|c| c.1.as_str()), Some("w"));
    assert_eq!(table.certificate("x.test"), None);
}

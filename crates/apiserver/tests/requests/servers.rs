//! Three API servers on one etcd of three members.

use crate::cluster::Cluster;
use crate::support::*;
use apiserver::encryption::Encryption;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const LEASES: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?labelSelector=apiserver.kubernetes.io/identity=kube-apiserver";

/// Each has a connection of its own, and begins with another member.
async fn servers(cluster: &Cluster) -> Vec<Server> {
    let mut servers = Vec::new();
    for number in 1..=3u8 {
        let mut config = cluster.config();
        let first = usize::from(number) % config.endpoints.len();
        config.endpoints.rotate_left(first);
        let store = Arc::new(cluster.connect_with(&config).await);
        servers.push(serve(store, Encryption::none(), number).await);
    }
    servers
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_acknowledged_the_others_show_at_once() {
    let Some(cluster) = Cluster::start(3) else { return };
    let servers = servers(&cluster).await;
    for i in 0..60usize {
        let (writer, reader, third) = (&servers[i % 3], &servers[(i + 1) % 3], &servers[(i + 2) % 3]);
        let name = format!("m{i}");
        let made = writer.post(MAPS, map(&name)).await.expect(201);
        assert_eq!(reader.get(&format!("{MAPS}/{name}")).await.expect(200), made);
        let list = third.get(MAPS).await.expect(200);
        assert!(
            names(&list).contains(&name.as_str())
                && list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() >= version(&made)
        );
        let changed = reader.patch(&format!("{MAPS}/{name}"), MERGE, json!({"data": {"x": "y"}})).await.expect(200);
        assert_eq!(third.get(&format!("{MAPS}/{name}")).await.expect(200), changed);
        third.delete(&format!("{MAPS}/{name}"), Value::Null).await.expect(200);
        writer.get(&format!("{MAPS}/{name}")).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_addresses_of_services_are_unique_across_servers() {
    let Some(cluster) = Cluster::start(1) else { return };
    let servers = servers(&cluster).await;
    let service = |name: &str, port: Option<u16>| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}});
    // All want the same port at the same time.
    for round in 0..10u16 {
        let port = 30100 + round;
        let asked = servers.iter().enumerate().map(|(i, s)| s.post(SERVICES, service(&format!("same-{round}-{i}"), Some(port))));
        let answers = futures::future::join_all(asked.collect::<Vec<_>>()).await;
        let made = answers.iter().filter(|a| a.code == 201).count();
        assert_eq!(made, 1, "{:?}", answers.iter().map(|a| &a.body).collect::<Vec<_>>());
        assert!(
            answers
                .iter()
                .filter(|a| a.code != 201)
                .all(|a| a.code == 422 && a.body["message"].as_str().unwrap().contains("provided port is already allocated"))
        );
    }
    let many = (0..60).map(|i| servers[i % 3].post(SERVICES, service(&format!("any-{i}"), None))).collect::<Vec<_>>();
    for answer in futures::future::join_all(many).await {
        answer.expect(201);
    }
    let list = servers[0].get(SERVICES).await.expect(200);
    let items = list["items"].as_array().unwrap();
    let ports: Vec<&Value> =
        items.iter().flat_map(|s| s["spec"]["ports"].as_array().unwrap()).map(|p| &p["nodePort"]).filter(|p| p.is_number()).collect();
    let addresses: HashSet<&str> = items.iter().map(|s| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    assert_eq!((ports.len(), addresses.len()), (70, 71));
    assert_eq!(ports.iter().map(|p| p.as_u64().unwrap()).collect::<HashSet<_>>().len(), 70);
    // What one server gave, another's deletion frees for the third.
    for round in 0..10 {
        let taken = items.iter().find(|s| s["metadata"]["name"].as_str().unwrap().starts_with(&format!("same-{round}-"))).unwrap();
        servers[1].delete(&format!("{SERVICES}/{}", taken["metadata"]["name"].as_str().unwrap()), Value::Null).await.expect(200);
        servers[2].post(SERVICES, service(&format!("next-{round}"), Some(30100 + round))).await.expect(201);
    }
}

/// Creates one after the other until told; what was acknowledged, with its version.
async fn keep_creating(server: Server, writer: usize, until: Instant) -> HashMap<String, u64> {
    let mut acknowledged = HashMap::new();
    for i in 0.. {
        if Instant::now() > until {
            break;
        }
        let name = format!("w{writer}-{i}");
        let answer = server.post(MAPS, map(&name)).await;
        match answer.code {
            201 => drop(acknowledged.insert(name, version(&answer.body))),
            500 | 503 | 504 => {}
            code => panic!("{code}: {}", answer.body),
        }
    }
    acknowledged
}

/// The events of a watch that is taken up again at the last version seen, wherever and however it ends.
async fn keep_watching(server: Server, from: u64, count: usize) -> Vec<(String, u64, String)> {
    let (mut seen, mut version) = (Vec::new(), from);
    while seen.len() < count {
        for event in server.events(&format!("{MAPS}?watch=true&timeoutSeconds=2&resourceVersion={version}"), count - seen.len()).await {
            assert_ne!(event["type"], "ERROR", "{event}");
            version = crate::support::version(&event["object"]);
            seen.push((
                event["object"]["metadata"]["name"].as_str().unwrap().to_string(),
                version,
                event["type"].as_str().unwrap().to_string(),
            ));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_a_server_lost_mid_write_lose_and_double_nothing() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let mut servers = servers(&cluster).await;
    let from = version(&servers[0].get(MAPS).await.expect(200));
    let until = Instant::now() + Duration::from_secs(9);
    let mut writers = Vec::new();
    for (i, server) in servers.iter().enumerate() {
        writers.push(tokio::spawn(keep_creating(server.clone(), i, until)));
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    cluster.kill(1);
    tokio::time::sleep(Duration::from_millis(2000)).await;
    cluster.run(1);
    // The third server is dropped in the middle of whatever it does.
    let dropped = servers.pop().unwrap();
    writers.pop().unwrap().abort();
    dropped.stop.cancel();
    drop(dropped);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    cluster.freeze(2);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    cluster.thaw(2);
    let mut acknowledged = HashMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let list = servers[1].get(MAPS).await.expect(200);
    let stored: HashMap<String, u64> =
        list["items"].as_array().unwrap().iter().map(|o| (o["metadata"]["name"].as_str().unwrap().to_string(), version(o))).collect();
    for (name, version) in &acknowledged {
        assert_eq!(stored.get(name), Some(version), "{name} was acknowledged");
    }
    assert!(acknowledged.len() > 50, "only {} writes", acknowledged.len());
    // Both servers tell the same story, in the same order, to its end.
    let watching = servers.iter().map(|s| tokio::time::timeout(Duration::from_secs(30), keep_watching(s.clone(), from, stored.len())));
    let stories = futures::future::join_all(watching.collect::<Vec<_>>()).await;
    let stories: Vec<_> = stories.into_iter().map(|s| s.unwrap()).collect();
    assert_eq!(stories[0], stories[1]);
    assert!(stories[0].is_sorted_by_key(|(_, version, _)| *version) && stories[0].iter().all(|(.., ty)| ty == "ADDED"));
    assert_eq!(stories[0].iter().map(|(name, version, _)| (name.clone(), *version)).collect::<HashMap<_, _>>(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_writes_and_consistent_reads_are_refused_in_time() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let servers = servers(&cluster).await;
    servers[0].post(MAPS, map("a")).await.expect(201);
    servers[1].get(&format!("{MAPS}/a")).await.expect(200);
    cluster.kill(0);
    cluster.kill(2);
    let started = Instant::now();
    for answer in [servers[1].post(MAPS, map("b")).await, servers[1].get(&format!("{MAPS}/a")).await] {
        assert!(
            matches!((answer.code, answer.body["reason"].as_str()), (503, Some("ServiceUnavailable")) | (504, Some("Timeout"))),
            "{}",
            answer.body
        );
        assert!(answer.body["message"].as_str().unwrap().contains("etcd"), "{}", answer.body);
    }
    assert!(started.elapsed() < Duration::from_secs(25), "refused too late");
    // What may be old is served, and says so by asking for any version.
    servers[1].get(&format!("{MAPS}/a?resourceVersion=0")).await.expect(200);
    cluster.run(0);
    let healed = Instant::now();
    while servers[1].post(MAPS, map("c")).await.code != 201 {
        assert!(healed.elapsed() < Duration::from_secs(30), "the quorum is back, and nothing is written");
    }
    servers[0].get(&format!("{MAPS}/c")).await.expect(200);
}

/// Waits for a state that is on its way, and says what it was at last where it does not come.
async fn eventually(server: &Server, uri: &str, wanted: impl Fn(&Value) -> bool) {
    let started = Instant::now();
    loop {
        let body = server.get(uri).await.expect(200);
        if wanted(&body) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_has_a_lease_and_an_endpoint_until_it_ends() {
    let Some(cluster) = Cluster::start(1) else { return };
    let mut servers = servers(&cluster).await;
    let endpoints = "/api/v1/namespaces/default/endpoints/kubernetes";
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    eventually(&servers[0], LEASES, |l| l["items"].as_array().unwrap().len() == 3).await;
    let leases = servers[0].get(LEASES).await.expect(200);
    assert!(names(&leases).iter().all(|n| n.len() == "apiserver-".len() + 26), "{:?}", names(&leases));
    eventually(&servers[0], endpoints, |e| e["subsets"][0]["addresses"].as_array().unwrap().len() == 3).await;
    servers.pop().unwrap().stop.cancel();
    eventually(&servers[0], LEASES, |l| l["items"].as_array().unwrap().len() == 2).await;
    eventually(&servers[0], endpoints, |e| e["subsets"][0]["addresses"] == json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}])).await;
    eventually(&servers[0], slice, |s| s["endpoints"].as_array().unwrap().len() == 2).await;
}

use crate::objects::deployment;
use crate::support::*;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn services_get_addresses_and_ports_and_give_them_back() {
    let (s, _dir) = server().await;
    let uri = "/api/v1/namespaces/default/services";
    let first = s.get(&format!("{uri}/kubernetes")).await.expect(200);
    assert_eq!(first["spec"]["clusterIP"], "10.43.0.1");
    let spec = json!({"type": "NodePort", "selector": {"a": "x"}, "ports": [{"port": 80}]});
    let made = s.post(uri, json!({"metadata": {"name": "web"}, "spec": spec})).await.expect(201);
    let (address, port) = (&made["spec"]["clusterIP"], &made["spec"]["ports"][0]["nodePort"]);
    assert!(address.as_str().unwrap().starts_with("10.43."));
    assert!((30000..=32767).contains(&port.as_u64().unwrap()));
    let same = |name: &str| {
        let spec = json!({"type": "NodePort", "clusterIP": address, "ports": [{"port": 80, "nodePort": port}]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    s.post(uri, same("other")).await.expect(422);
    s.delete(&format!("{uri}/web"), Value::Null).await.expect(200);
    s.post(uri, same("other")).await.expect(201);
    let body = s.post(uri, json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})).await.expect(201);
    assert_eq!(body["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_is_read_and_written_by_itself() {
    let (s, _dir) = server().await;
    let uri = "/apis/apps/v1/namespaces/default/deployments";
    s.post(uri, deployment(2)).await.expect(201);
    let scale_uri = format!("{uri}/d/scale");
    let mut scale = s.get(&scale_uri).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "a=d");
    scale["spec"]["replicas"] = json!(5);
    s.put(&scale_uri, scale.clone()).await.expect(200);
    assert_eq!(s.get(&format!("{uri}/d")).await.expect(200)["spec"]["replicas"], 5);
    s.put(&scale_uri, scale).await.expect(409);
    assert_eq!(s.patch(&scale_uri, MERGE, json!({"spec": {"replicas": 0}})).await.expect(200)["spec"]["replicas"], 0);
}

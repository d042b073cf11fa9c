//! What typed clients send by default.

use crate::support::{Server, server};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use kinds::wire;
use serde_json::{Value, json};

impl Server {
    /// Sends an object as protobuf and takes nothing else back.
    async fn typed(&self, method: &str, uri: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() { Vec::new() } else { wire::encode(&body).unwrap() };
        let response = self.send(method, uri, &[("content-type", wire::MEDIA_TYPE), ("accept", wire::MEDIA_TYPE)], body).await;
        assert_eq!(response.headers()["content-type"], wire::MEDIA_TYPE, "{method} {uri}");
        let (parts, body) = Response::into_parts(response);
        (parts.status, wire::decode(&body.collect().await.unwrap().to_bytes()).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_lists_and_options_travel_as_protobuf() {
    let (s, _dir) = server().await;
    let (code, made) =
        s.typed("POST", "/api/v1/namespaces", json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "typed"}})).await;
    assert_eq!((code.as_u16(), &made["metadata"]["name"]), (201, &json!("typed")), "{made}");
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "m"}, "data": {"a": "b"}, "immutable": false});
    let maps = "/api/v1/namespaces/typed/configmaps";
    let (code, made) = s.typed("POST", maps, map.clone()).await;
    assert_eq!((code.as_u16(), &made["immutable"]), (201, &json!(false)), "{made}");
    let (code, status) = s.typed("POST", maps, map).await;
    assert_eq!((code.as_u16(), &status["reason"]), (409, &json!("AlreadyExists")));
    let (_, list) = s.typed("GET", maps, Value::Null).await;
    assert_eq!((&list["kind"], &list["items"][0]["data"]["a"]), (&json!("ConfigMapList"), &json!("b")), "{list}");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"});
    let (code, gone) = s.typed("DELETE", &format!("{maps}/m"), options).await;
    assert_eq!(code, 200, "{gone}");
    let (code, status) = s.typed("GET", &format!("{maps}?watch=true"), Value::Null).await;
    assert_eq!((code.as_u16(), &status["kind"]), (406, &json!("Status")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_client_scales() {
    let (s, _dir) = server().await;
    let labels = json!({"a": "b"});
    let workload = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}});
    let uri = "/apis/apps/v1/namespaces/default/deployments";
    let (code, made) = s.typed("POST", uri, workload).await;
    assert_eq!(code, 201, "{made}");
    let (_, mut scale) = s.typed("GET", &format!("{uri}/d/scale"), Value::Null).await;
    assert_eq!(scale["spec"]["replicas"], 2, "{scale}");
    scale["spec"]["replicas"] = 0.into();
    let (code, scaled) = s.typed("PUT", &format!("{uri}/d/scale"), scale).await;
    assert_eq!(code, 200, "{scaled}");
    assert_eq!(s.get(&format!("{uri}/d")).await.expect(200)["spec"]["replicas"], 0);
}

//! Requests against a whole server on an embedded store.

use apiserver::*;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;

struct Open;

impl Authorizer for Open {
    fn authorize(&self, _: &Attributes) -> Decision {
        Decision::Allow
    }
}

#[async_trait::async_trait]
impl Authenticator for Open {
    async fn authenticate(&self, _: &http::request::Parts, _: Option<&PeerCertificates>) -> Result<Option<User>, meta::ApiError> {
        Ok(Some(User::system("test")))
    }
}

async fn call(server: &ApiServer, method: &str, uri: &str, content: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(uri).header("content-type", content);
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    let answer = server.handle(request.body(apiserver::body::full(bytes)).unwrap()).await;
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_listed_in_parts_changed_and_deleted() {
    let dir = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
    let core = Core::open(Arc::new(store::Embedded::open(&dir).unwrap())).await.unwrap();
    let server = ApiServer::start(Config {
        core, authenticator: Arc::new(Open), authorizer: Arc::new(Open), handlers: Handlers::default(), bootstrap: Vec::new(),
        service_cidr: "10.43.0.0/16".into(), node_port_range: 30000..=32767, advertise_address: [127, 0, 0, 1].into(), advertise_port: 6443,
        stop: tokio_util::sync::CancellationToken::new(),
    }).await.unwrap();
    let (maps, json) = ("/api/v1/namespaces/default/configmaps", "application/json");
    for name in ["a", "b", "c"] {
        assert_eq!(call(&server, "POST", maps, json, json!({"metadata": {"name": name, "labels": {"n": name}}})).await.0, 201);
    }
    assert_eq!(call(&server, "POST", maps, json, json!({"metadata": {"name": "a"}})).await.0, 409);
    let (_, first) = call(&server, "GET", &format!("{maps}?limit=2"), json, Value::Null).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = format!("{maps}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap());
    assert_eq!(call(&server, "DELETE", &format!("{maps}/c"), json, Value::Null).await.0, 200);
    // The list goes on at its own moment, when the deleted object was still there.
    assert_eq!(call(&server, "GET", &next, json, Value::Null).await.1["items"][0]["metadata"]["name"], "c");
    let (code, patched) = call(&server, "PATCH", &format!("{maps}/a"), "application/merge-patch+json", json!({"data": {"x": "1"}})).await;
    assert_eq!((code, &patched["data"]["x"]), (200, &json!("1")));
    let since = first["metadata"]["resourceVersion"].as_str().unwrap();
    let request = Request::get(format!("{maps}?watch=1&timeoutSeconds=1&resourceVersion={since}")).body(apiserver::body::empty()).unwrap();
    let events = server.handle(request).await.into_body().collect().await.unwrap().to_bytes();
    let types: Vec<Value> = events.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<Value>(l).ok()).map(|e| e["type"].clone()).collect();
    assert_eq!(types, ["DELETED", "MODIFIED"]);
    assert_eq!(call(&server, "GET", &format!("{maps}?labelSelector=n%3Db"), json, Value::Null).await.1["items"].as_array().unwrap().len(), 1);
}

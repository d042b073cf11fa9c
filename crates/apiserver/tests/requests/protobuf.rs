//! What typed clients send by default.

use crate::support::{MAPS, PODS, Server, server};
use futures::StreamExt;
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
}

/// The frames of a watch until there are enough: type and object of each.
async fn frames(s: &Server, uri: &str, accept: &str, enough: usize) -> Vec<(String, Value)> {
    let response = s.send("GET", uri, &[("accept", accept)], String::new()).await;
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &WATCH.parse().unwrap()), "{uri}");
    let mut stream = response.into_body().into_data_stream();
    let (mut bytes, mut found): (Vec<u8>, Vec<(String, Value)>) = (Vec::new(), Vec::new());
    while found.len() < enough {
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), stream.next()).await;
        bytes.extend_from_slice(&next.unwrap_or_else(|_| panic!("{uri}: only {found:?}")).unwrap().unwrap());
        while let Some(length) = bytes.first_chunk::<4>().map(|l| u32::from_be_bytes(*l) as usize).filter(|l| bytes.len() >= l + 4) {
            let frame: Vec<u8> = bytes.drain(..length + 4).skip(4).collect();
            // Field 1 is the type; field 2 holds the object in its envelope, which begins with the magic number.
            let ty = String::from_utf8(frame[2..2 + frame[1] as usize].to_vec()).unwrap();
            let at = frame.windows(4).position(|w| w == b"k8s\0").unwrap();
            found.push((ty, wire::decode(&frame[at..]).unwrap()));
        }
    }
    found
}

const WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_bare_metadata_travel_as_protobuf() {
    let (s, _dir) = server().await;
    s.map("a").await;
    let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    for (accept, kind, data) in
        [(wire::MEDIA_TYPE, "ConfigMap", true), (WATCH, "ConfigMap", true), (partial, "PartialObjectMetadata", false)]
    {
        let uri = format!(
            "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=n=a"
        );
        let found = frames(&s, &uri, accept, 2).await;
        let (ty, object) = &found[0];
        assert_eq!((ty.as_str(), &object["kind"], &object["metadata"]["name"]), ("ADDED", &json!(kind), &json!("a")), "{accept}");
        assert_eq!(object.get("apiVersion").is_some_and(|v| v == "v1"), data, "{accept}");
        assert_eq!((found[1].0.as_str(), &found[1].1["kind"]), ("BOOKMARK", &json!(kind)), "{accept}");
    }
    let before = s.get(&format!("{MAPS}/a")).await.expect(200)["metadata"]["resourceVersion"].clone();
    s.map("b").await;
    // Several watchers of one change, whose protobuf is made once.
    for (accept, kind) in [(wire::MEDIA_TYPE, "ConfigMap"), (wire::MEDIA_TYPE, "ConfigMap"), (partial, "PartialObjectMetadata")] {
        let found = frames(&s, &format!("{MAPS}?watch=true&resourceVersion={}", before.as_str().unwrap()), accept, 1).await;
        let (ty, object) = &found[0];
        assert_eq!((ty.as_str(), &object["kind"], &object["metadata"]["name"]), ("ADDED", &json!(kind), &json!("b")), "{accept}");
    }
    let list = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let response = s.send("GET", &format!("{MAPS}?labelSelector=n=a"), &[("accept", list)], String::new()).await;
    let list = wire::decode(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["name"]), (&json!("PartialObjectMetadataList"), &json!("a")), "{list}");
}

/// What typed clients send to be answered at once: nothing of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn questions_and_subresources_travel_as_protobuf() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let access = json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {
        "user": "somebody", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}, "status": {"allowed": false}});
    let (code, answer) = s.typed("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", access).await;
    assert_eq!((code.as_u16(), &answer["status"]["allowed"]), (201, &json!(true)), "{answer}");
    let token = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"audiences": [], "expirationSeconds": 3600}});
    let (code, answer) = s.typed("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", token).await;
    assert_eq!(code, 201, "{answer}");
    assert!(answer["status"]["token"].as_str().is_some_and(|t| !t.is_empty()), "{answer}");
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, answer) = s.typed("POST", PODS, pod).await;
    assert_eq!(code, 201, "{answer}");
    let binding = json!({"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let (code, answer) = s.typed("POST", &format!("{PODS}/p/binding"), binding).await;
    assert_eq!((code.as_u16(), &answer["status"]), (201, &json!("Success")), "{answer}");
    let eviction =
        json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 0}});
    let (code, answer) = s.typed("POST", &format!("{PODS}/p/eviction"), eviction).await;
    assert_eq!((code.as_u16(), &answer["status"]), (201, &json!("Success")), "{answer}");
    let (code, answer) = s.typed("GET", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!((code.as_u16(), &answer["kind"]), (404, &json!("Status")), "{answer}");
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

/// CBOR is a feature that is off in a stock server too.
#[tokio::test]
async fn cbor_is_answered_as_by_a_server_that_has_it_off() {
    let (server, _dir) = server().await;
    let known = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let refused = server.get_as(MAPS, "application/cbor").await.expect(406);
    assert_eq!(
        (&refused["reason"], refused["message"].as_str()),
        (&json!("NotAcceptable"), Some(format!("only the following media types are accepted: {known}").as_str()))
    );
    server.get_as(MAPS, "application/cbor, application/json").await.expect_code(200);
    server.map("a").await;
    let unknown = "the body of the request was in an unknown format - accepted media types include: ";
    let patches =
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
    for (method, uri, content, accepted) in [
        ("POST", MAPS.to_string(), "application/cbor", known),
        ("PUT", format!("{MAPS}/a"), "application/cbor", known),
        ("PATCH", format!("{MAPS}/a?fieldManager=x"), "application/apply-patch+cbor", patches),
    ] {
        let refused = server.text(method, &uri, content, "\u{1}".into()).await.expect(415);
        let told = (refused["reason"].as_str(), refused["message"].as_str());
        assert_eq!(told, (Some("UnsupportedMediaType"), Some(format!("{unknown}{accepted}").as_str())), "{method}");
    }
}

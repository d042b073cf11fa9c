//! Custom resources whose versions a webhook converts: `host:port` in v1, two fields in v2.

use super::backend::*;
use super::*;
use std::time::Duration;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/stable.example.com/v1/namespaces/default/links";
const V2: &str = "/apis/stable.example.com/v2/namespaces/default/links";

fn convert(asked: &Value) -> Reply {
    let wanted = asked["request"]["desiredAPIVersion"].as_str().unwrap();
    let convert = |object: &Value| {
        let mut object = object.clone();
        let from = object["apiVersion"].as_str().unwrap().to_string();
        object["apiVersion"] = wanted.into();
        match (from.as_str(), wanted) {
            ("stable.example.com/v1", "stable.example.com/v2") => {
                let (host, port) = object["hostPort"].as_str().unwrap().split_once(':').unwrap();
                (object["host"], object["port"]) = (json!(host), json!(port));
                object.as_object_mut().unwrap().remove("hostPort");
            }
            _ => {
                object["hostPort"] = format!("{}:{}", object["host"].as_str().unwrap(), object["port"].as_str().unwrap()).into();
                object.as_object_mut().unwrap().remove("host");
                object.as_object_mut().unwrap().remove("port");
            }
        }
        object
    };
    let objects: Vec<Value> = asked["request"]["objects"].as_array().unwrap().iter().map(convert).collect();
    let response = json!({"uid": asked["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    Reply::Json(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))
}

async fn serve(client: Value) -> (Server, Dir) {
    let (s, dir) = server().await;
    tokio::spawn(apiserver::custom::run(s.api.clone(), s.stop.clone()));
    let text = json!({"type": "string"});
    let version = |name: &str, storage: bool, fields: Value| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object", "properties": fields}}});
    let webhook = json!({"clientConfig": client, "conversionReviewVersions": ["v1", "v1beta1"]});
    let definition = json!({"metadata": {"name": "links.stable.example.com"}, "spec": {
        "group": "stable.example.com", "scope": "Namespaced",
        "names": {"plural": "links", "singular": "link", "kind": "Link", "listKind": "LinkList"},
        "versions": [version("v1", true, json!({"hostPort": text})), version("v2", false, json!({"host": text, "port": text}))],
        "conversion": {"strategy": "Webhook", "webhook": webhook}}});
    s.post(CRDS, definition).await.expect(201);
    s.until(V2, |a| a.code == 200).await;
    (s, dir)
}

/// Makes v2 the version that stores.
async fn store_v2(s: &Server) {
    let swap = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    s.patch(&format!("{CRDS}/links.stable.example.com"), "application/json-patch+json", swap).await.expect(200);
    for _ in 0..200 {
        let stored = s.get(&format!("{CRDS}/links.stable.example.com")).await.expect(200);
        if stored["status"]["storedVersions"] == json!(["v1", "v2"]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

fn link(version: &str, name: &str) -> Value {
    let mut link = json!({"apiVersion": format!("stable.example.com/{version}"), "kind": "Link", "metadata": {"name": name}});
    match version {
        "v1" => link["hostPort"] = "a:1".into(),
        _ => (link["host"], link["port"]) = (json!("b"), json!("2")),
    }
    link
}

/// Behaviour: [sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR v1 to CR v2
#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_written_and_watched_in_either_version() {
    let backend = Backend::start(|_, asked| convert(asked)).await;
    let (s, _dir) = serve(backend.client("/convert")).await;
    s.post(V1, link("v1", "one")).await.expect(201);
    let read = s.get(&format!("{V2}/one")).await.expect(200);
    assert_eq!((&read["host"], &read["port"], &read["apiVersion"]), (&json!("a"), &json!("1"), &json!("stable.example.com/v2")));
    let calls = backend.calls.lock().len();
    s.get(&format!("{V2}/one")).await.expect(200);
    assert_eq!(backend.calls.lock().len(), calls, "what was read once is not converted again");
    s.patch(&format!("{V2}/one"), MERGE, json!({"port": "7"})).await.expect(200);
    assert_eq!(s.get(&format!("{V1}/one")).await.expect(200)["hostPort"], "a:7");
    s.post(V2, link("v2", "two")).await.expect(201);
    let applied = s.patch(&format!("{V2}/three?fieldManager=m"), APPLY, link("v2", "three")).await.expect(201);
    assert_eq!(applied["host"], "b");
    assert_eq!(s.get(&format!("{V1}/three")).await.expect(200)["hostPort"], "b:2");
    s.delete(&format!("{V2}/three"), Value::Null).await.expect(200);
    let events = s.events(&format!("{V2}?watch=1&resourceVersion={}", read["metadata"]["resourceVersion"].as_str().unwrap()), 4).await;
    assert_eq!(types(&events), ["MODIFIED", "ADDED", "ADDED", "DELETED"]);
    assert!(events.iter().all(|e| e["object"]["host"].is_string() && e["object"]["apiVersion"] == "stable.example.com/v2"), "{events:?}");
    let events = s.events(&format!("{V2}?watch=1"), 2).await;
    assert!(events.iter().all(|e| e["object"]["port"].is_string()), "{events:?}");
}

/// Behaviour: [sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert a non homogeneous list of CRs
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_of_one_version_whatever_its_objects_are_stored_in() {
    let backend = Backend::start(|_, asked| convert(asked)).await;
    let (s, _dir) = serve(backend.client("/convert")).await;
    s.post(V1, link("v1", "one")).await.expect(201);
    store_v2(&s).await;
    s.post(V2, link("v2", "two")).await.expect(201);
    let second = s.get(V2).await.expect(200);
    assert_eq!(names(&second), ["one", "two"]);
    assert!(second["items"].as_array().unwrap().iter().all(|o| o["host"].is_string() && o.get("hostPort").is_none()), "{second}");
    let first = s.get(V1).await.expect(200);
    let ports: Vec<&str> = first["items"].as_array().unwrap().iter().map(|o| o["hostPort"].as_str().unwrap()).collect();
    assert_eq!(ports, ["a:1", "b:2"]);
    // An update that changes nothing still brings the object into the version that stores now.
    let before = s.get(&format!("{V2}/one")).await.expect(200);
    let after = s.put(&format!("{V2}/one"), before.clone()).await.expect(200);
    assert!(version(&after) > version(&before));
    assert_eq!(
        s.put(&format!("{V2}/one"), after.clone()).await.expect(200)["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
    s.delete(V1, Value::Null).await.expect(200);
    assert_eq!(names(&s.get(V2).await.expect(200)), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_that_fails_is_told_and_harms_nobody_else() {
    let backend = Backend::start(|_, asked| {
        let response = json!({"uid": asked["request"]["uid"], "result": {"status": "Failure", "message": "cannot do it"}});
        Reply::Json(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))
    })
    .await;
    let (s, _dir) = serve(backend.client("/convert")).await;
    s.post(V1, link("v1", "one")).await.expect(201);
    let failed = "conversion webhook for stable.example.com/v1, Kind=Link failed: cannot do it";
    assert_eq!(s.get(&format!("{V2}/one")).await.expect(500)["message"], failed);
    assert_eq!(s.get(V2).await.expect(500)["message"], failed);
    s.post(V2, link("v2", "two")).await.expect(500);
    assert_eq!(names(&s.get(V1).await.expect(200)), ["one"]);
    s.map("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_differ_by_name_keep_to_the_one_that_is_asked_for() {
    let (s, _dir) = serve(json!({"url": "https://127.0.0.1:1/"})).await;
    s.patch(&format!("{CRDS}/links.stable.example.com"), MERGE, json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}}))
        .await
        .expect(200);
    s.until(V1, |a| a.code == 200).await;
    s.post(V1, link("v1", "one")).await.expect(201);
    store_v2(&s).await;
    for uri in [V1, V2] {
        let expected = uri.split('/').nth(3).unwrap();
        let item = &s.get(uri).await.expect(200)["items"][0];
        assert_eq!(item["apiVersion"], format!("stable.example.com/{expected}"), "{item}");
    }
    s.patch(&format!("{V2}/one"), MERGE, json!({"host": "x"})).await.expect(200);
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny custom resource creation, update and deletion
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with pruning
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should deny crd creation
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with different stored version
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_deny_and_change_custom_resources_whatever_version_stores() {
    let backend = Backend::start(|path, asked| match path {
        "/convert" => convert(asked),
        "/add" => patch(asked, json!([{"op": "add", "path": "/port", "value": "9"}, {"op": "add", "path": "/unknown", "value": 1}])),
        _ => deny(asked, "not this"),
    })
    .await;
    let (s, _dir) = serve(backend.client("/convert")).await;
    // The webhook knows v2 only, and sees every request as one for v2.
    let rules =
        json!([{"operations": ["CREATE", "UPDATE"], "apiGroups": ["stable.example.com"], "apiVersions": ["v2"], "resources": ["links"]}]);
    s.mutating("add", json!([hook("add.example.com", backend.client("/add"), rules, json!({}))])).await;
    let made = s.post(V1, link("v1", "one")).await.expect(201);
    assert_eq!((&made["hostPort"], made.get("unknown")), (&json!("a:9"), None));
    assert_eq!(backend.asked("/add")[0]["kind"]["version"], "v2");
    store_v2(&s).await;
    let changed = s.patch(&format!("{V1}/one"), MERGE, json!({"hostPort": "z:1"})).await.expect(200);
    assert_eq!(changed["hostPort"], "z:9");
    let rules =
        json!([rule(&["*"], "stable.example.com", &["links"]), rule(&["CREATE"], "apiextensions.k8s.io", &["customresourcedefinitions"])]);
    s.validating("deny", json!([hook("deny.example.com", backend.client("/deny"), rules, json!({}))])).await;
    s.post(V1, link("v1", "two")).await.expect(403);
    s.patch(&format!("{V1}/one"), MERGE, json!({"hostPort": "y:1"})).await.expect(403);
    s.delete(&format!("{V1}/one"), Value::Null).await.expect(403);
    let definition = json!({"metadata": {"name": "as.b.example.com"}, "spec": {"group": "b.example.com", "scope": "Cluster",
        "names": {"plural": "as", "kind": "A"}, "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    s.post(CRDS, definition).await.expect(403);
}

use crate::support::*;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_made_read_changed_and_deleted() {
    let (s, _dir) = server().await;
    let made = s.map("a").await;
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
    assert_eq!(s.post(MAPS, json!({"metadata": {"name": "a"}})).await.expect(409)["reason"], "AlreadyExists");
    let a = format!("{MAPS}/a");
    let mut changed = s.get(&a).await.expect(200);
    assert_eq!(changed, made);
    changed["data"] = json!({"x": "1"});
    let newer = s.put(&a, changed.clone()).await.expect(200);
    assert!(version(&newer) > version(&made));
    // Nothing changes, so nothing is written.
    assert_eq!(s.put(&a, newer.clone()).await.expect(200), newer);
    changed["data"] = json!({"x": "2"});
    assert_eq!(s.put(&a, changed).await.expect(409)["reason"], "Conflict");
    assert_eq!(s.delete(&a, Value::Null).await.expect(200)["status"], "Success");
    assert_eq!(s.get(&a).await.expect(404)["reason"], "NotFound");
    s.delete(&a, Value::Null).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_patch_changes_what_it_names() {
    let (s, _dir) = server().await;
    s.map("a").await;
    let a = format!("{MAPS}/a");
    let body = s.patch(&a, MERGE, json!({"data": {"x": "1", "y": "2"}})).await.expect(200);
    assert_eq!(body["data"], json!({"x": "1", "y": "2"}));
    let ops = json!([{"op": "test", "path": "/data/x", "value": "1"}, {"op": "remove", "path": "/data/x"}]);
    assert_eq!(s.patch(&a, "application/json-patch+json", ops.clone()).await.expect(200)["data"], json!({"y": "2"}));
    s.patch(&a, "application/json-patch+json", ops).await.expect(422);
    s.patch(&a, MERGE, json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "1"}})).await.expect(409);
    s.patch(&a, "text/plain", json!({})).await.expect(415);
    let uri = "/apis/apps/v1/namespaces/default/deployments";
    s.post(uri, deployment(1)).await.expect(201);
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}});
    let body = s.patch(&format!("{uri}/d"), STRATEGIC, change).await.expect(200);
    assert_eq!(body["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(body["metadata"]["generation"], 2);
}

pub fn deployment(replicas: u32) -> Value {
    json!({"metadata": {"name": "d"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "d"}},
        "template": {"metadata": {"labels": {"a": "d"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_make_own_conflict_and_take_over() {
    let (s, _dir) = server().await;
    let map = |x: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"x": x}});
    let uri = |who: &str, more: &str| format!("{MAPS}/m?fieldManager={who}{more}");
    let made = s.patch(&uri("one", ""), APPLY, map("1")).await.expect(201);
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "one");
    assert_eq!(s.patch(&uri("one", ""), APPLY, map("1")).await.expect(200), made);
    let refused = s.patch(&uri("two", ""), APPLY, map("2")).await.expect(409);
    assert_eq!(refused["details"]["causes"][0]["field"], ".data.x");
    let forced = s.patch(&uri("two", "&force=true"), APPLY, map("2")).await.expect(200);
    assert_eq!(forced["data"]["x"], "2");
    // What an applier no longer names goes with it.
    let none = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    assert!(s.patch(&uri("two", ""), APPLY, none).await.expect(200)["data"].is_null());
    s.patch(&format!("{MAPS}/m"), APPLY, map("1")).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_made_and_dry_runs_leave_nothing() {
    let (s, _dir) = server().await;
    let body = s.post(MAPS, json!({"metadata": {"generateName": "g-"}})).await.expect(201);
    let name = body["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("g-") && name.len() == 7);
    s.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "dry"}})).await.expect(201);
    s.get(&format!("{MAPS}/dry")).await.expect(404);
    s.delete(&format!("{MAPS}/{name}?dryRun=All"), Value::Null).await.expect(200);
    s.get(&format!("{MAPS}/{name}")).await.expect(200);
    s.post(&format!("{MAPS}?dryRun=Some"), json!({"metadata": {"name": "dry"}})).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_refused_or_warned_of() {
    let (s, _dir) = server().await;
    let wrong = json!({"metadata": {"name": "w"}, "dta": {}});
    let refused = s.post(&format!("{MAPS}?fieldValidation=Strict"), wrong.clone()).await.expect(400);
    assert!(refused["message"].as_str().unwrap().contains("unknown field \"dta\""), "{refused}");
    let warned = s.post(&format!("{MAPS}?fieldValidation=Warn"), wrong).await;
    assert!(warned.warnings[0].contains("unknown field"), "{:?}", warned.warnings);
    assert!(warned.expect(201)["dta"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_and_propagation_hold_an_object_until_they_are_gone() {
    let (s, _dir) = server().await;
    for (name, policy, finalizer) in [("f", "Foreground", "foregroundDeletion"), ("o", "Orphan", "orphan")] {
        s.map(name).await;
        let uri = format!("{MAPS}/{name}");
        s.delete(&uri, json!({"propagationPolicy": policy})).await.expect(200);
        let held = s.get(&uri).await.expect(200);
        assert_eq!(held["metadata"]["finalizers"], json!([finalizer]));
        assert!(held["metadata"]["deletionTimestamp"].is_string());
        s.patch(&uri, MERGE, json!({"metadata": {"finalizers": null}})).await.expect(200);
        s.get(&uri).await.expect(404);
    }
    s.post(MAPS, json!({"metadata": {"name": "own", "finalizers": ["example.com/x"]}})).await.expect(201);
    s.delete(&format!("{MAPS}/own"), Value::Null).await.expect(200);
    s.patch(&format!("{MAPS}/own"), MERGE, json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}})).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_must_be_there_and_end_when_finalized() {
    let (s, _dir) = server().await;
    let maps = "/api/v1/namespaces/x/configmaps";
    s.post(maps, json!({"metadata": {"name": "a"}})).await.expect(404);
    let made = s.post("/api/v1/namespaces", json!({"metadata": {"name": "x"}})).await.expect(201);
    assert_eq!((&made["spec"]["finalizers"], &made["status"]["phase"]), (&json!(["kubernetes"]), &json!("Active")));
    s.post(maps, json!({"metadata": {"name": "a"}})).await.expect(201);
    s.delete("/api/v1/namespaces/x", Value::Null).await.expect(200);
    let mut ending = s.get("/api/v1/namespaces/x").await.expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    s.post(maps, json!({"metadata": {"name": "b"}})).await.expect(403);
    ending["spec"]["finalizers"] = json!([]);
    s.put("/api/v1/namespaces/x/finalize", ending).await.expect(200);
    s.get("/api/v1/namespaces/x").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_a_revision_are_tried_until_they_hold() {
    let (s, _dir) = server().await;
    s.map("a").await;
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let s = s.clone();
            tokio::spawn(async move { s.patch(&format!("{MAPS}/a"), MERGE, json!({"data": {format!("k{n}"): "1"}})).await.expect(200) })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(s.get(&format!("{MAPS}/a")).await.expect(200)["data"].as_object().unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_its_reason() {
    let (s, _dir) = server().await;
    for (method, uri, body, code) in [
        ("GET", "/api/v1/namespaces/default/nothings", Value::Null, 404),
        ("GET", "/apis/none.example/v1/things", Value::Null, 404),
        ("POST", MAPS, json!({"metadata": {"name": "Not_A_Name"}}), 422),
        ("POST", MAPS, json!({"kind": "Secret", "metadata": {"name": "a"}}), 400),
        ("POST", MAPS, json!({"metadata": {"name": "a", "namespace": "other"}}), 400),
        ("POST", MAPS, json!({"metadata": {"name": "a", "resourceVersion": "5"}}), 400),
        ("POST", MAPS, json!({"metadata": {"name": "a"}, "data": 5}), 400),
        ("POST", MAPS, Value::Null, 400),
        ("POST", &format!("{MAPS}/a"), json!({"metadata": {"name": "a"}}), 405),
        ("PUT", &format!("{MAPS}/a"), json!({"metadata": {"name": "a"}}), 404),
        ("PUT", &format!("{MAPS}/a"), json!({"metadata": {"name": "b"}}), 400),
        ("PATCH", &format!("{MAPS}/a"), json!({}), 415),
    ] {
        let answer = s.call(method, uri, JSON, body.clone()).await;
        assert_eq!(answer.code, code, "{method} {uri} {body}: {}", answer.body);
        assert!(uri.contains("othings") || uri.contains("none") || answer.body["kind"] == "Status");
    }
}

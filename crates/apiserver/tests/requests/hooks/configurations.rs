//! Webhook configurations as objects: found, listed, changed, and out of reach of the webhooks themselves.

use super::backend::*;
use super::*;

/// Adds a key to config maps, or denies them: what is to be seen of each kind of configuration.
fn acts(path: &str, asked: &Value) -> Reply {
    match path {
        "/mutate" => patch(asked, json!([{"op": "add", "path": "/data/mutated", "value": "yes"}])),
        _ => deny(asked, "no"),
    }
}

/// Whether a config map that is made now has met the webhook.
async fn met(s: &Server, collection: &str) -> bool {
    let answer = s.post(MAPS, json!({"metadata": {"generateName": "m-"}, "data": {"start": "yes"}})).await;
    if collection == VALIDATING {
        assert!([201, 403].contains(&answer.code), "{}", answer.body);
        return answer.code == 403;
    }
    answer.expect(201)["data"]["mutated"] == "yes"
}

const BOTH: [(&str, &str); 2] = [(MUTATING, "/mutate"), (VALIDATING, "/deny")];

fn configuration(name: &str, hooks: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"made": "here"}}, "webhooks": hooks})
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] listing mutating webhooks should work
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] listing validating webhooks should work
#[tokio::test(flavor = "multi_thread")]
async fn ten_are_listed_by_label_and_act_until_their_collection_is_deleted() {
    let (s, _dir) = server().await;
    let backend = Backend::start(acts).await;
    for (collection, path) in BOTH {
        let hooks = json!([hook("h.example.com", backend.client(path), json!([rule(&["CREATE"], "", &["configmaps"])]), json!({}))]);
        for i in 0..10 {
            s.post(collection, configuration(&format!("h-{i}"), hooks.clone())).await.expect(201);
        }
        let mut other = configuration("other", json!([]));
        other["metadata"]["labels"] = json!({});
        s.post(collection, other).await.expect(201);
        let selected = format!("{collection}?labelSelector=made%3Dhere");
        assert_eq!(names(&s.get(&selected).await.expect(200)).len(), 10);
        assert!(met(&s, collection).await);
        s.delete(&selected, Value::Null).await.expect(200);
        assert_eq!(names(&s.get(collection).await.expect(200)), ["other"]);
        assert!(!met(&s, collection).await);
    }
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a mutating webhook should work
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a validating webhook should work
#[tokio::test(flavor = "multi_thread")]
async fn the_operations_of_a_rule_are_updated_and_patched() {
    let (s, _dir) = server().await;
    let backend = Backend::start(acts).await;
    for (collection, path) in BOTH {
        let hooks = json!([hook("h.example.com", backend.client(path), json!([rule(&["CREATE"], "", &["configmaps"])]), json!({}))]);
        let uri = format!("{collection}/h");
        s.post(collection, configuration("h", hooks)).await.expect(201);
        assert!(met(&s, collection).await);
        let mut read = s.get(&uri).await.expect(200);
        read["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
        let updated = s.put(&uri, read).await.expect(200);
        assert!(!met(&s, collection).await);
        let create = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
        let patched = s.patch(&uri, "application/json-patch+json", create).await.expect(200);
        assert!(version(&patched) > version(&updated));
        assert_eq!((&updated["metadata"]["generation"], &patched["metadata"]["generation"]), (&json!(2), &json!(3)));
        assert!(met(&s, collection).await);
        s.delete(&uri, Value::Null).await.expect(200);
    }
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should not be able to mutate or prevent deletion of webhook configuration objects
#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_never_asked_about() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|path, asked| match path {
        "/mutate" => patch(asked, json!([{"op": "add", "path": "/metadata/labels/mutated", "value": "yes"}])),
        _ => deny(asked, "no"),
    })
    .await;
    for (collection, path) in BOTH {
        let hooks = json!([hook("h.example.com", backend.client(path), json!([rule(&["*"], "*", &["*/*"])]), json!({}))]);
        s.post(collection, configuration("all", hooks)).await.expect(201);
    }
    for (collection, path) in BOTH {
        let rules = json!([rule(&["CREATE"], "", &["invalid"])]);
        let made = s.post(collection, configuration("one", json!([hook("h.example.com", backend.client(path), rules, json!({}))]))).await;
        assert_eq!(made.expect(201)["metadata"]["labels"], json!({"made": "here"}));
        s.delete(&format!("{collection}/one"), Value::Null).await.expect(200);
    }
    assert!(backend.calls.lock().is_empty());
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in discovery documents
#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_in_discovery() {
    let (s, _dir) = server().await;
    let name = "admissionregistration.k8s.io";
    let has = |group: &Value| group["versions"].as_array().unwrap().iter().any(|v| v["groupVersion"] == format!("{name}/v1"));
    let groups = s.get("/apis").await.expect(200);
    assert!(has(groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == name).expect("the group")));
    let group = s.get(&format!("/apis/{name}")).await.expect(200);
    assert!(group["name"] == name && has(&group), "{group}");
    let list = s.get(&format!("/apis/{name}/v1")).await.expect(200);
    assert_eq!(list["groupVersion"], format!("{name}/v1"));
    for (plural, kind) in [
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    ] {
        let resource = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == plural).expect(plural);
        assert_eq!((&resource["kind"], &resource["namespaced"]), (&json!(kind), &json!(false)));
    }
}

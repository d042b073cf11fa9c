use super::backend::*;
use super::*;

fn denies(asked: &Value) -> Reply {
    let object = &asked["request"]["object"];
    if object["data"]["bad"].is_string() || object["metadata"]["labels"]["bad"].is_string() {
        deny(asked, "it is bad")
    } else {
        allow(asked)
    }
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny pod and configmap creation
#[tokio::test(flavor = "multi_thread")]
async fn creations_updates_and_patches_are_denied_in_the_webhooks_words() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| denies(asked)).await;
    let rules = json!([rule(&["CREATE", "UPDATE"], "", &["configmaps", "pods"])]);
    s.validating("deny", json!([hook("deny.example.com", backend.client("/deny"), rules, json!({}))])).await;
    let refused = s.post(MAPS, map("a", json!({"bad": "1"}))).await.expect(403);
    assert_eq!(refused["message"], "admission webhook \"deny.example.com\" denied the request: it is bad");
    assert_eq!(refused["reason"], "Forbidden");
    s.default_account().await;
    let pod = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    s.post("/api/v1/namespaces/default/pods", pod("bad", json!({"bad": "1"}))).await.expect(403);
    s.post("/api/v1/namespaces/default/pods", pod("good", json!({}))).await.expect(201);
    s.post(MAPS, map("a", json!({"good": "1"}))).await.expect(201);
    s.put(&format!("{MAPS}/a"), map("a", json!({"bad": "1"}))).await.expect(403);
    s.patch(&format!("{MAPS}/a"), MERGE, json!({"data": {"bad": "1"}})).await.expect(403);
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"bad": "1"}});
    s.patch(&format!("{MAPS}/a?fieldManager=m"), APPLY, applied).await.expect(403);
    assert_eq!(s.get(&format!("{MAPS}/a")).await.expect(200)["data"], json!({"good": "1"}));
    let asked = backend.asked("/deny");
    let update = asked.iter().find(|a| a["operation"] == "UPDATE").unwrap();
    assert_eq!((&update["name"], &update["namespace"]), (&json!("a"), &json!("default")));
    assert_eq!((&update["object"]["data"], &update["oldObject"]["data"]), (&json!({"bad": "1"}), &json!({"good": "1"})));
    assert_eq!(update["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(update["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&update["userInfo"]["username"], &update["options"]["kind"]), (&json!("test"), &json!("UpdateOptions")));
    // One that has not come back yet when the next request is asked about may need a second.
    assert!(backend.connections() < asked.len(), "connections are used again");
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny pod and configmap creation
#[tokio::test(flavor = "multi_thread")]
async fn selectors_of_namespaces_and_objects_say_whom_it_concerns() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| deny(asked, "no")).await;
    s.post("/api/v1/namespaces", json!({"metadata": {"name": "spared", "labels": {"spare": "yes"}}})).await.expect(201);
    let rules = json!([rule(&["*"], "*", &["configmaps"])]);
    let spare = json!({"matchExpressions": [{"key": "spare", "operator": "NotIn", "values": ["yes"]}]});
    let marked = json!({"matchLabels": {"marked": "yes"}});
    let only = json!({"namespaceSelector": spare, "objectSelector": marked});
    s.validating("deny", json!([hook("deny.example.com", backend.client("/"), rules, only)])).await;
    let object = |labels: Value| json!({"metadata": {"generateName": "x", "labels": labels}});
    s.post(MAPS, object(json!({}))).await.expect(201);
    s.post("/api/v1/namespaces/spared/configmaps", object(json!({"marked": "yes"}))).await.expect(201);
    let plain = s.post(MAPS, object(json!({}))).await.expect(201);
    s.post(MAPS, object(json!({"marked": "yes"}))).await.expect(403);
    // What gets the label or has had it is of concern too.
    let path = format!("{MAPS}/{}", plain["metadata"]["name"].as_str().unwrap());
    s.patch(&path, MERGE, json!({"metadata": {"labels": {"marked": "yes"}}})).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_are_denied_one_by_one_and_collections_object_by_object() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| match asked["request"]["oldObject"]["metadata"]["name"].as_str() {
        Some("kept") => deny(asked, "it stays"),
        _ => allow(asked),
    })
    .await;
    s.map("kept").await;
    s.map("other").await;
    let rules = json!([rule(&["DELETE"], "", &["configmaps"])]);
    s.validating("deny", json!([hook("deny.example.com", backend.client("/"), rules, json!({}))])).await;
    s.delete(&format!("{MAPS}/kept"), Value::Null).await.expect(403);
    let refused = s.delete(&format!("{MAPS}?labelSelector=n"), Value::Null).await.expect(403);
    assert_eq!(refused["message"], "admission webhook \"deny.example.com\" denied the request: it stays");
    s.delete(&format!("{MAPS}/other"), json!({"gracePeriodSeconds": 0})).await.expect(200);
    s.get(&format!("{MAPS}/kept")).await.expect(200);
    let asked = backend.asked("/");
    let last = asked.last().unwrap();
    assert_eq!((&last["object"], &last["options"]["kind"]), (&Value::Null, &json!("DeleteOptions")));
    assert!(asked.iter().any(|a| a.get("name").is_none()), "a collection's delete names no object");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_versions_count_where_the_policy_says_equivalent() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| deny(asked, "no")).await;
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}]);
    let hooks = |policy: &str| json!([hook("deny.example.com", backend.client("/"), rules.clone(), json!({"matchPolicy": policy}))]);
    let scaler = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}});
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    s.validating("exact", hooks("Exact")).await;
    s.post(path, scaler.clone()).await.expect(201);
    s.validating("equivalent", hooks("Equivalent")).await;
    s.delete(&format!("{path}/a"), Value::Null).await.expect(200);
    s.post(path, scaler).await.expect(403);
    let asked = backend.asked("/").remove(0);
    assert_eq!((&asked["kind"]["version"], &asked["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(asked["object"]["spec"]["targetCPUUtilizationPercentage"], 70);
}

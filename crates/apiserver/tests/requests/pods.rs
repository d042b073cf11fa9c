use crate::support::*;
use serde_json::{Value, json};

async fn pod(s: &Server, name: &str) -> Value {
    let spec = json!({"containers": [{"name": "a", "image": "a"}]});
    s.post(PODS, json!({"metadata": {"name": name, "labels": {"a": "x"}}, "spec": spec})).await.expect(201)
}

async fn bind(s: &Server, name: &str) -> Answer {
    s.post(&format!("{PODS}/{name}/binding"), json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_given_its_account_bound_once_and_ends_with_grace() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let made = pod(&s, "p").await;
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    let volume = made["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"));
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    bind(&s, "p").await.expect(201);
    bind(&s, "p").await.expect(409);
    let uri = format!("{PODS}/p");
    let bound = s.get(&uri).await.expect(200);
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("n"), &json!(1)));
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    // An empty status is there from the start.
    let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "x"}}}});
    let made = s.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget).await.expect(201);
    assert_eq!(made["status"], json!({}));
    s.delete(&uri, Value::Null).await.expect(200);
    let ending = s.get(&uri).await.expect(200);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    s.delete(&uri, json!({"gracePeriodSeconds": 0})).await.expect(200);
    s.get(&uri).await.expect(404);
    pod(&s, "unbound").await;
    s.delete(&format!("{PODS}/unbound"), Value::Null).await.expect(200);
    s.get(&format!("{PODS}/unbound")).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_and_the_rest_are_written_apart() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let mut object = pod(&s, "p").await;
    object["status"]["phase"] = json!("Running");
    object["metadata"]["labels"]["a"] = json!("y");
    let plain = s.put(&format!("{PODS}/p"), object.clone()).await.expect(200);
    assert_eq!((&plain["status"]["phase"], &plain["metadata"]["labels"]["a"]), (&json!("Pending"), &json!("y")));
    object["metadata"]["resourceVersion"] = plain["metadata"]["resourceVersion"].clone();
    object["spec"]["priority"] = json!(7);
    let status = s.put(&format!("{PODS}/p/status"), object).await.expect(200);
    assert_eq!((&status["status"]["phase"], &status["spec"]["priority"]), (&json!("Running"), &plain["spec"]["priority"]));
    let patched = s.patch(&format!("{PODS}/p/status"), STRATEGIC, json!({"status": {"podIP": "10.0.0.1"}})).await.expect(200);
    assert_eq!(patched["status"]["podIP"], "10.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_spends_the_budget_and_is_then_refused() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "x"}}});
    s.post(budgets, json!({"metadata": {"name": "b"}, "spec": spec})).await.expect(201);
    let status =
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    s.patch(&format!("{budgets}/b/status"), MERGE, status).await.expect(200);
    for name in ["p", "q"] {
        pod(&s, name).await;
        bind(&s, name).await.expect(201);
        let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        s.patch(&format!("{PODS}/{name}/status"), STRATEGIC, running).await.expect(200);
    }
    let evict = async |name: &str| {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        s.post(&format!("{PODS}/{name}/eviction"), body).await
    };
    evict("p").await.expect(201);
    let evicted = s.get(&format!("{PODS}/p")).await.expect(200);
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    let conditions = evicted["status"]["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|c| c["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("EvictionByEvictionAPI")));
    let refused = evict("q").await.expect(429);
    assert_eq!(refused["details"]["causes"][0]["reason"], "DisruptionBudget");
}

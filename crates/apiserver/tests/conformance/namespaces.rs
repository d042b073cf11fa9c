//! Namespaces as objects, and the quotas in them as the server keeps them.

use crate::support::*;
use serde_json::{Value, json};

const NAMESPACES: &str = "/api/v1/namespaces";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn made(s: &Server, name: &str) -> String {
    s.post(NAMESPACES, json!({"metadata": {"name": name}})).await.expect(201);
    format!("{NAMESPACES}/{name}")
}

/// Behaviour: [sig-api-machinery] Namespaces [Serial] should patch a Namespace
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_patched() {
    let (s, _dir) = server().await;
    let one = made(&s, "n").await;
    s.patch(&one, STRATEGIC, json!({"metadata": {"labels": {"testLabel": "testValue"}}})).await.expect(200);
    let labels = &s.get(&one).await.expect(200)["metadata"]["labels"];
    assert_eq!((&labels["testLabel"], &labels["kubernetes.io/metadata.name"]), (&json!("testValue"), &json!("n")));
}

/// Behaviour: [sig-api-machinery] Namespaces [Serial] should apply an update to a Namespace
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_updated() {
    let (s, _dir) = server().await;
    let one = made(&s, "n").await;
    let mut object = s.get(&one).await.expect(200);
    object["metadata"]["labels"]["n"] = json!("updated");
    assert_eq!(s.put(&one, object).await.expect(200)["metadata"]["labels"]["n"], "updated");
}

/// Behaviour: [sig-api-machinery] Namespaces [Serial] should apply changes to a namespace status
#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_namespace_is_patched_and_updated() {
    let (s, _dir) = server().await;
    let status = format!("{}/status", made(&s, "n").await);
    let condition = |ty: &str| json!({"type": ty, "status": "True", "reason": "Suite", "message": "told"});
    let patched = s.patch(&status, STRATEGIC, json!({"status": {"conditions": [condition("StatusPatch")]}})).await.expect(200);
    assert_eq!((&patched["status"]["conditions"][0]["type"], &patched["status"]["phase"]), (&json!("StatusPatch"), &json!("Active")));
    let mut object = patched.clone();
    object["status"]["conditions"].as_array_mut().unwrap().push(condition("StatusUpdate"));
    assert_eq!(s.put(&status, object).await.expect(200)["status"]["conditions"][1]["type"], "StatusUpdate");
}

/// Behaviour: [sig-api-machinery] Namespaces [Serial] should apply a finalizer to a Namespace
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_another_finalizer_waits_for_it() {
    let (s, _dir) = server().await;
    let one = made(&s, "n").await;
    let mut object = s.get(&one).await.expect(200);
    let finalizers = object["spec"]["finalizers"].clone();
    assert_eq!(finalizers, json!(["kubernetes"]));
    object["spec"]["finalizers"] = json!(["kubernetes", "suite.example.com/hold"]);
    let held = s.put(&format!("{one}/finalize"), object).await.expect(200);
    assert_eq!(held["spec"]["finalizers"], json!(["kubernetes", "suite.example.com/hold"]));
    s.delete(&one, Value::Null).await.expect(200);
    let mut object = s.get(&one).await.expect(200);
    assert_eq!(object["status"]["phase"], "Terminating");
    for left in [json!(["kubernetes"]), json!([])] {
        object = s.get(&one).await.expect(200);
        object["spec"]["finalizers"] = left;
        s.put(&format!("{one}/finalize"), object).await.expect(200);
    }
    s.get(&one).await.expect(404);
}

/// Behaviour: [sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota.
/// Behaviour: [sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_made_found_everywhere_changed_and_deleted() {
    let (s, _dir) = server().await;
    let quota = json!({"metadata": {"name": "q", "labels": {"suite": "quota"}}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}});
    s.post(QUOTAS, quota).await.expect(201);
    let one = format!("{QUOTAS}/q");
    let mut object = s.get(&one).await.expect(200);
    object["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    s.put(&one, object).await.expect(200);
    let patched = s.patch(&one, STRATEGIC, json!({"spec": {"hard": {"pods": "3"}}})).await.expect(200);
    assert_eq!(patched["spec"]["hard"], json!({"cpu": "2", "memory": "1Gi", "pods": "3"}));
    let everywhere = "/api/v1/resourcequotas?labelSelector=suite%3Dquota";
    assert_eq!(names(&s.get(everywhere).await.expect(200)), ["q"]);
    s.delete(&format!("{QUOTAS}?labelSelector=suite%3Dquota"), Value::Null).await.expect(200);
    assert!(names(&s.get(everywhere).await.expect(200)).is_empty());
}

/// Behaviour: [sig-api-machinery] ResourceQuota should apply changes to a resourcequota status
#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_quota_is_updated_and_patched() {
    let (s, _dir) = server().await;
    s.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1"}}})).await.expect(201);
    let status = format!("{QUOTAS}/q/status");
    let mut object = s.get(&status).await.expect(200);
    object["status"] = json!({"hard": {"cpu": "500m"}, "used": {"cpu": "0"}});
    assert_eq!(s.put(&status, object).await.expect(200)["status"]["hard"], json!({"cpu": "500m"}));
    let patched = s.patch(&status, MERGE, json!({"status": {"hard": {"memory": "1Gi"}}})).await.expect(200);
    assert_eq!(patched["status"]["hard"], json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(patched["spec"]["hard"], json!({"cpu": "1"}));
}

//! What a namespace's own objects and labels do to writes in it.

use crate::support::*;
use serde_json::{Value, json};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

/// As the quota controller leaves it.
async fn quota(s: &Server, hard: Value, used: Value) {
    s.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.expect(201);
    s.patch(&format!("{QUOTAS}/q/status"), MERGE, json!({"status": {"hard": hard, "used": used}})).await.expect(200);
}

async fn used(s: &Server) -> Value {
    s.get(&format!("{QUOTAS}/q")).await.expect(200)["status"]["used"].clone()
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_however_many_write_at_once() {
    let (s, _dir) = server().await;
    quota(&s, json!({"configmaps": "5"}), json!({"configmaps": "0"})).await;
    s.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "dry"}})).await.expect(201);
    assert_eq!(used(&s).await, json!({"configmaps": "0"}));
    let posts = (0..12).map(|i| {
        let s = s.clone();
        async move { s.post(MAPS, json!({"metadata": {"name": format!("m{i}")}})).await.code }
    });
    let codes = futures::future::join_all(posts).await;
    assert_eq!((codes.iter().filter(|c| **c == 201).count(), codes.iter().filter(|c| **c == 403).count()), (5, 7), "{codes:?}");
    assert_eq!(used(&s).await, json!({"configmaps": "5"}));
    let refused = s.post(MAPS, json!({"metadata": {"name": "more"}})).await.expect(403);
    let text = r#"configmaps "more" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=5, limited: configmaps=5"#;
    assert_eq!(refused["message"], text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_counted_with_the_defaults_of_a_limit_range() {
    let (s, _dir) = server().await;
    s.default_account().await;
    quota(&s, json!({"requests.cpu": "1", "pods": "5"}), json!({"requests.cpu": "0", "pods": "0"})).await;
    let open = s.post(PODS, pod("a", json!({}))).await.expect(403);
    assert_eq!(open["message"], r#"pods "a" is forbidden: failed quota: q: must specify requests.cpu for: c"#);
    let limits = json!([{"type": "Container", "defaultRequest": {"cpu": "400m"}, "min": {"cpu": "100m", "memory": "1Mi"}}]);
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": limits}});
    s.post("/api/v1/namespaces/default/limitranges", range).await.expect(201);
    let low = s.post(PODS, pod("a", json!({"requests": {"cpu": "50m", "memory": "1Ki"}}))).await.expect(403);
    let text = "pods \"a\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, \
                minimum memory usage per Container is 1Mi, but request is 1Ki]";
    assert_eq!(low["message"], text);
    let made = s.post(PODS, pod("a", json!({"requests": {"memory": "1Mi"}}))).await.expect(201);
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"]["cpu"], "400m");
    assert_eq!(used(&s).await, json!({"requests.cpu": "400m", "pods": "1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_namespace_keep_pods_out() {
    let (s, _dir) = server().await;
    let labels = |level: &str| json!({"metadata": {"name": "tight", "labels": {"pod-security.kubernetes.io/enforce": level}}});
    s.post("/api/v1/namespaces", labels("severe")).await.expect(422);
    s.post("/api/v1/namespaces", labels("baseline")).await.expect(201);
    s.post("/api/v1/namespaces/tight/serviceaccounts", json!({"metadata": {"name": "default"}})).await.expect(201);
    let mut host = pod("p", json!({}));
    host["spec"]["hostPID"] = json!(true);
    let refused = s.post("/api/v1/namespaces/tight/pods", host.clone()).await.expect(403);
    assert_eq!(refused["message"], r#"pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true)"#);
    s.post("/api/v1/namespaces/tight/pods", pod("p", json!({}))).await.expect(201);
    let template = json!({"metadata": {"labels": {"a": "d"}}, "spec": host["spec"]});
    let spec = json!({"selector": {"matchLabels": {"a": "d"}}, "template": template});
    let made = s.post("/apis/apps/v1/namespaces/tight/deployments", json!({"metadata": {"name": "d"}, "spec": spec})).await;
    assert!(made.warnings.iter().any(|w| w.contains("would violate PodSecurity")), "{:?}", made.warnings);
    made.expect(201);
    let tighter = s.patch("/api/v1/namespaces/tight", MERGE, json!({"metadata": labels("restricted")["metadata"]})).await;
    assert!(tighter.warnings.iter().any(|w| w.contains("existing pods in namespace")), "{:?}", tighter.warnings);
    tighter.expect(200);
}

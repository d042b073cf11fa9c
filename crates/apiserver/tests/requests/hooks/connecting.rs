use super::backend::*;
use super::*;

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny attaching pod
#[tokio::test(flavor = "multi_thread")]
async fn attaching_to_a_pod_can_be_denied() {
    let (s, _dir) = server().await;
    s.default_account().await;
    s.post(PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})).await.expect(201);
    let backend = Backend::start(|_, asked| deny(asked, "attaching to pod is not allowed")).await;
    let rules = json!([rule(&["CONNECT"], "", &["pods/attach", "services/proxy"])]);
    s.validating("x", json!([hook("x.example.com", backend.client("/"), rules, json!({}))])).await;
    let refused = s.post(&format!("{PODS}/p/attach?container=c&stdin=true"), Value::Null).await.expect(403);
    assert_eq!(refused["message"], "admission webhook \"x.example.com\" denied the request: attaching to pod is not allowed");
    s.get("/api/v1/namespaces/default/services/https:s:443/proxy/a/b").await.expect(403);
    let asked = backend.asked("/");
    let options = json!({"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": true, "container": "c"});
    assert_eq!((&asked[0]["object"], &asked[0]["subResource"], &asked[0]["options"]), (&options, &json!("attach"), &Value::Null));
    assert_eq!((&asked[1]["object"]["path"], &asked[1]["name"]), (&json!("/a/b"), &json!("https:s:443")));
    assert_eq!(asked[1]["kind"], json!({"group": "", "version": "v1", "kind": "ServiceProxyOptions"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_show_objects_of_their_own() {
    let (s, _dir) = server().await;
    s.default_account().await;
    s.post(PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})).await.expect(201);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    s.post(sets, json!({"metadata": {"name": "r"}, "spec": spec})).await.expect(201);
    let backend = Backend::start(|path, asked| match path {
        "/scale" if asked["request"]["object"]["spec"]["replicas"] == 5 => {
            patch(asked, json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]))
        }
        "/scale" => allow(asked),
        _ => deny(asked, "no"),
    })
    .await;
    let scale = json!([rule(&["UPDATE"], "apps", &["*/scale"])]);
    s.mutating("scale", json!([hook("scale.example.com", backend.client("/scale"), scale, json!({}))])).await;
    let parts = json!([rule(&["*"], "", &["pods/eviction", "pods/binding", "pods/status"])]);
    s.validating("parts", json!([hook("parts.example.com", backend.client("/parts"), parts, json!({}))])).await;

    let scaled = s.patch(&format!("{sets}/r/scale"), MERGE, json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(s.get(&format!("{sets}/r")).await.expect(200)["spec"]["replicas"], 3);
    let asked = backend.asked("/scale").remove(0);
    assert_eq!(asked["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!((&asked["oldObject"]["spec"]["replicas"], &asked["subResource"]), (&json!(1), &json!("scale")));

    s.post(&format!("{PODS}/p/binding"), json!({"target": {"kind": "Node", "name": "n"}})).await.expect(403);
    s.post(&format!("{PODS}/p/eviction"), json!({"metadata": {"name": "p"}})).await.expect(403);
    s.patch(&format!("{PODS}/p/status"), MERGE, json!({"status": {"phase": "Running"}})).await.expect(403);
    let asked = backend.asked("/parts");
    let told: Vec<(&str, &str)> = asked.iter().map(|a| (a["operation"].as_str().unwrap(), a["object"]["kind"].as_str().unwrap())).collect();
    assert_eq!(told, [("CREATE", "Binding"), ("CREATE", "Eviction"), ("UPDATE", "Pod")]);
    assert_eq!(asked[0]["kind"], json!({"group": "", "version": "v1", "kind": "Binding"}));
    assert_eq!((&asked[0]["object"]["apiVersion"], &asked[1]["object"]["apiVersion"]), (&json!("v1"), &json!("policy/v1")));
    assert!(s.get(&format!("{PODS}/p")).await.expect(200)["spec"].get("nodeName").is_none());
}

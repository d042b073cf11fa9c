use crate::support::*;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_many_kinds_are_made_and_come_back() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let template = json!({"metadata": {"labels": {"a": "x"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let selector = json!({"matchLabels": {"a": "x"}});
    let mut job = template.clone();
    job["spec"]["restartPolicy"] = json!("Never");
    let (here, all) = ("namespaces/default/", "");
    for (group, place, plural, body) in [
        ("api/v1", here, "secrets", json!({"stringData": {"a": "b"}})),
        ("api/v1", here, "replicationcontrollers", json!({"spec": {"selector": {"a": "x"}, "template": template}})),
        ("api/v1", here, "resourcequotas", json!({"spec": {"hard": {"pods": "5"}}})),
        ("api/v1", here, "limitranges", json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}})),
        ("api/v1", here, "podtemplates", json!({"template": template})),
        ("api/v1", here, "endpoints", json!({"subsets": []})),
        ("api/v1", here, "events", json!({"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R"})),
        ("api/v1", all, "nodes", json!({})),
        ("apis/apps/v1", here, "replicasets", json!({"spec": {"selector": selector, "template": template}})),
        ("apis/apps/v1", here, "statefulsets", json!({"spec": {"serviceName": "s", "selector": selector, "template": template}})),
        ("apis/apps/v1", here, "daemonsets", json!({"spec": {"selector": selector, "template": template}})),
        ("apis/apps/v1", here, "controllerrevisions", json!({"revision": 1, "data": {"x": 1}})),
        ("apis/batch/v1", here, "jobs", json!({"spec": {"template": job}})),
        ("apis/batch/v1", here, "cronjobs", json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": job}}}})),
        (
            "apis/rbac.authorization.k8s.io/v1",
            here,
            "roles",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        ("apis/coordination.k8s.io/v1", here, "leases", json!({"spec": {"holderIdentity": "x"}})),
        ("apis/networking.k8s.io/v1", here, "networkpolicies", json!({"spec": {"podSelector": {}}})),
        ("apis/networking.k8s.io/v1", all, "ingressclasses", json!({"spec": {"controller": "example.com/c"}})),
        ("apis/scheduling.k8s.io/v1", all, "priorityclasses", json!({"value": 5})),
        ("apis/storage.k8s.io/v1", all, "storageclasses", json!({"provisioner": "example.com/p"})),
        ("apis/node.k8s.io/v1", all, "runtimeclasses", json!({"handler": "h"})),
        ("apis/discovery.k8s.io/v1", here, "endpointslices", json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]})),
    ] {
        let uri = format!("/{group}/{place}{plural}");
        let mut object = body.clone();
        object["metadata"] = json!({"name": "o"});
        let answer = s.post(&uri, object).await;
        assert_eq!(answer.code, 201, "{uri}: {}", answer.body);
        let one = format!("{uri}/o");
        // Something else may have written it again already, but not here.
        let there = s.get(&one).await.expect(200);
        assert_eq!(there, answer.body, "{uri}");
        let same = s.put(&one, there.clone()).await;
        assert_eq!((same.code, &same.body), (200, &there), "{uri}");
        let table = s.get_as(&uri, "application/json;as=Table;v=v1;g=meta.k8s.io").await.expect(200);
        let width = table["columnDefinitions"].as_array().unwrap().len();
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), width, "{uri}");
        let labelled = s.patch(&one, STRATEGIC, json!({"metadata": {"labels": {"l": "1"}}})).await;
        assert_eq!(labelled.code, 200, "{uri}: {}", labelled.body);
        let gone = s.delete(&format!("{uri}?labelSelector=l"), json!({"propagationPolicy": "Background"})).await;
        assert_eq!(gone.code, 200, "{uri}: {}", gone.body);
        assert_eq!(s.get(&one).await.code, 404, "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_pods_and_requests_are_changed_on_their_own() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let spec = json!({"containers": [{"name": "a", "image": "a"}]});
    s.post(PODS, json!({"metadata": {"name": "p"}, "spec": spec})).await.expect(201);
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "d"}]}});
    let changed = s.patch(&format!("{PODS}/p/ephemeralcontainers"), STRATEGIC, debug).await.expect(200);
    assert_eq!(changed["spec"]["ephemeralContainers"][0]["name"], "d");
    s.patch(&format!("{PODS}/p"), STRATEGIC, json!({"spec": {"containers": [{"name": "a", "image": "b"}]}})).await.expect(200);
    s.patch(&format!("{PODS}/p"), MERGE, json!({"spec": {"hostNetwork": true}})).await.expect(422);
    s.get(&format!("{PODS}/p/nothing")).await.expect(404);
    let only = s.get_as(PODS, "text/html").await;
    assert_eq!(only.code, 406, "{}", only.body);
    assert_eq!(s.get_as(PODS, "application/vnd.kubernetes.protobuf,application/json").await.code, 200);
    s.delete(PODS, Value::Null).await.expect(200);
    assert!(names(&s.get(PODS).await.expect(200)).is_empty());
}

//! A whole API server behind this one, as extension servers are: it knows this one by its certificate, and who asks by
//! what this one says.

use super::*;
use crate::conformance::definitions::CRDS;
use crate::kubectl::Kubectl;
use crate::tls::listening;
use apiserver::auth::certificates::Certificates;
use apiserver::auth::front_proxy::FrontProxy;
use apiserver::listener::{self, Limits};
use arc_swap::ArcSwap;

const NAME: &str = "v1alpha1.wardle.example.com";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

/// Serves flunders to whoever has a right to them by the roles of its own.
async fn extension(proxies: &Authority, own: &Authority, dir: &Dir) -> (Server, u16) {
    let front_proxy = FrontProxy::new(std::slice::from_ref(&proxies.der), vec!["front-proxy-client".into()]).unwrap();
    let access = Access::Secured(Certificates { front_proxy: Some(front_proxy) });
    let server = open_with(dir, Arc::default(), access).await;
    tokio::spawn(apiserver::custom::run(server.api.clone(), server.stop.clone()));
    let text = json!({"type": "string", "description": "What it goes by."});
    let spec = json!({"type": "object", "description": "Of a flunder.", "properties": {"reference": text}});
    let schema = json!({"type": "object", "description": "A flunder of this test.", "properties": {"spec": spec}});
    let version = json!({"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "flunders", "singular": "flunder", "kind": "Flunder"});
    let spec = json!({"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]});
    server.post(CRDS, json!({"metadata": {"name": "flunders.wardle.example.com"}, "spec": spec})).await.expect(201);
    server.until(FLUNDERS, |a| a.code == 200).await;
    let socket = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let tls: listener::Tls = Arc::new(ArcSwap::from_pointee(server_config(proxies, own)));
    tokio::spawn(listener::serve(server.api.clone(), socket, tls, Limits::default()));
    (server, port)
}

fn flunder(name: &str) -> Value {
    json!({"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder",
        "metadata": {"name": name, "namespace": "default", "labels": {"sample-label": "true"}}})
}

impl Server {
    /// Adds a condition to the status of the registration; `PUT` or a merge patch.
    async fn add_condition(&self, ty: &str, put: bool) {
        let status = format!("{REGISTRATIONS}/{NAME}/status");
        for _ in 0..50 {
            let mut object = self.get(&status).await.expect(200);
            let condition = json!({"type": ty, "status": "True", "reason": "Test", "message": "Set by a test",
                "lastTransitionTime": "2030-01-01T00:00:00Z"});
            object["status"]["conditions"].as_array_mut().unwrap().push(condition);
            let answer = match put {
                true => self.put(&status, object).await,
                false => self.patch(&status, MERGE, json!({"status": object["status"]})).await,
            };
            // Its keeper may have written in between.
            if answer.code != 409 {
                return answer.expect_code(200);
            }
        }
        panic!("{ty} always conflicts")
    }

    async fn condition_types(&self) -> Vec<String> {
        let read = self.get(&format!("{REGISTRATIONS}/{NAME}/status")).await.expect(200);
        let all = read["status"]["conditions"].as_array().unwrap();
        assert_eq!(all[0]["message"], "all checks passed");
        all.iter().map(|c| c["type"].as_str().unwrap().to_string()).collect()
    }
}

/// A server with the extension server registered behind it.
async fn extended() -> (Setting, Server, Dir) {
    let it = setting().await;
    let (own, dir) = (authority("wardle"), Dir::new());
    let (behind, port) = extension(&it.proxies, &own, &dir).await;
    it.service("wardle").await;
    it.register(GROUP, "wardle", port, &own).await;
    (it, behind, dir)
}

/// Behaviour: [sig-api-machinery] Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator
#[tokio::test(flavor = "multi_thread")]
async fn an_extension_server_serves_its_kind_through_this_one() {
    let (it, behind, _dir) = extended().await;
    let s = &it.server;
    s.until(FLUNDERS, |a| a.code == 200).await;

    let made = s.post(FLUNDERS, flunder("rest")).await.expect(201);
    assert_eq!(
        (&made["apiVersion"], &made["kind"], &made["metadata"]["name"]),
        (&json!("wardle.example.com/v1alpha1"), &json!("Flunder"), &json!("rest"))
    );
    assert_eq!(names(&s.get(FLUNDERS).await.expect(200)), ["rest"]);
    s.patch(&format!("{FLUNDERS}/rest"), MERGE, json!({"spec": {"reference": "a"}})).await.expect(200);
    s.delete(&format!("{FLUNDERS}/rest"), Value::Null).await.expect(200);
    assert!(names(&s.get(FLUNDERS).await.expect(200)).is_empty());
    let start = version(&made) - 1;
    let events = s.events(&format!("{FLUNDERS}?watch=1&resourceVersion={start}"), 3).await;
    assert_eq!(types(&events), ["ADDED", "MODIFIED", "DELETED"]);

    // Who may not there may not here: the extension server decides, by the roles that it has.
    let jane = User::new("jane", &["system:authenticated"]);
    let refused = read(s.call_as(jane.clone(), "GET", FLUNDERS, &[], Value::Null).await).await.expect(403);
    let said = r#"User "jane" cannot list resource "flunders" in API group "wardle.example.com" in the namespace "default""#;
    assert!(refused["message"].as_str().unwrap().ends_with(said), "{refused}");

    // A client that knows nothing but discovery finds it.
    let fresh = s.until_aggregated("Current").await;
    let found = fresh["resources"].as_array().unwrap().iter().find(|r| r["resource"] == "flunders").expect("flunders");
    assert_eq!((&found["scope"], &found["responseKind"]["kind"]), (&json!("Namespaced"), &json!("Flunder")));
    for verb in ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] {
        assert!(found["verbs"].as_array().unwrap().contains(&json!(verb)), "{found}");
    }
    s.post(FLUNDERS, flunder("dynamic")).await.expect(201);
    assert_eq!(names(&s.get(FLUNDERS).await.expect(200)), ["dynamic"]);
    assert_eq!(names(&behind.get(FLUNDERS).await.expect(200)), ["dynamic"], "it is there and nowhere else");

    let told = "com.example.wardle.v1alpha1.Flunder";
    let document = s.until("/openapi/v2", |a| a.body["definitions"].get(told).is_some()).await.body;
    assert!(document["paths"].get("/apis/wardle.example.com/v1alpha1/namespaces/{namespace}/flunders").is_some());
    assert!(document["paths"].get("/apis/apps/v1/namespaces/{namespace}/deployments").is_some());
    let twice = document["definitions"].as_object().unwrap().keys().filter(|name| name.ends_with("_v2")).collect::<Vec<_>>();
    assert!(twice.is_empty(), "what both have is there once: {twice:?}");

    let (listening, root) = listening(s.clone(), None, Limits::default()).await;
    if let Some(kubectl) = Kubectl::of(&listening, &root) {
        assert_eq!(kubectl.accepts(&["get", "flunders", "-o", "name"], "").await, "flunder.wardle.example.com/dynamic\n");
        assert!(kubectl.accepts(&["explain", "flunders.spec.reference"], "").await.contains("What it goes by."));
        let older = ["explain", "flunders.spec", "--output=plaintext-openapiv2"];
        assert!(kubectl.accepts(&older, "").await.contains("What it goes by."));
        let applied = json!({"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "dynamic"}, "spec": {"refrence": "a"}});
        kubectl.refuses(&["apply", "--server-side", "-f", "-"], &applied.to_string(), ".spec.refrence: field not declared in schema").await;
    }
    s.delete(&format!("{REGISTRATIONS}/{NAME}"), Value::Null).await.expect(200);
    s.until("/openapi/v2", |a| a.body["definitions"].get(told).is_none()).await;
    it.server.stop.cancel();
    behind.stop.cancel();
}

/// Behaviour: [sig-api-machinery] Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator
#[tokio::test(flavor = "multi_thread")]
async fn the_registration_of_an_extension_server_is_an_object_like_others() {
    let (it, behind, _dir) = extended().await;
    let s = &it.server;
    it.reason(GROUP, "Passed").await;
    let uri = format!("{REGISTRATIONS}/{NAME}");
    assert_eq!(s.condition_types().await, ["Available"]);

    let before = version(&s.get(&uri).await.expect(200));
    let patched = s.patch(&uri, MERGE, json!({"spec": {"versionPriority": 400}})).await.expect(200);
    assert_eq!(patched["spec"]["versionPriority"], 400);
    assert!(version(&patched) > before);
    assert!(names(&s.get(REGISTRATIONS).await.expect(200)).contains(&NAME));
    s.patch(&uri, STRATEGIC, json!({"metadata": {"labels": {"test": "patched"}}})).await.expect(200);
    assert_eq!(s.get(&uri).await.expect(200)["metadata"]["labels"], json!({"test": "patched"}));

    s.add_condition("StatusUpdated", true).await;
    assert_eq!(s.condition_types().await, ["Available", "StatusUpdated"]);
    loop {
        let mut object = s.get(&uri).await.expect(200);
        object["metadata"]["labels"] = json!({NAME: "updated"});
        let answer = s.put(&uri, object).await;
        if answer.code != 409 {
            assert_eq!(answer.expect(200)["metadata"]["labels"], json!({NAME: "updated"}));
            break;
        }
    }
    s.add_condition("StatusPatched", false).await;
    assert_eq!(s.condition_types().await, ["Available", "StatusUpdated", "StatusPatched"]);
    // What is known of the server later is told in its place.
    s.delete("/api/v1/namespaces/default/services/wardle", Value::Null).await.expect(200);
    it.reason(GROUP, "ServiceNotFound").await;
    it.service("wardle").await;
    it.reason(GROUP, "Passed").await;
    assert_eq!(s.condition_types().await, ["Available", "StatusUpdated", "StatusPatched"]);

    let selected = format!("{REGISTRATIONS}?labelSelector={NAME}%3Dupdated");
    s.delete(&selected, Value::Null).await.expect(200);
    assert!(names(&s.get(&selected).await.expect(200)).is_empty());
    s.until(PATH, |a| a.code == 404).await;
    let groups = s.get("/apis").await.expect(200);
    assert!(groups["groups"].as_array().unwrap().iter().all(|g| g["name"] != GROUP), "{groups}");
    it.server.stop.cancel();
    behind.stop.cancel();
}

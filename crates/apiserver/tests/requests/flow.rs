use crate::support::*;
use apiserver::flow::Settings;
use apiserver::{Body, Context, Handler, Operations, User};
use http::{Request, Response};
use meta::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const SLOW: &str = "/slow";

/// Answers when it is let.
struct Slow(Arc<Semaphore>, Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Handler for Slow {
    async fn handle(&self, _: &Context, _: Request<Body>) -> Result<Response<Body>, ApiError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        if let Ok(let_go) = self.0.acquire().await {
            let_go.forget();
        }
        Ok(Response::new(apiserver::body::empty()))
    }
}

/// Thirty seats, of which three are everybody's.
fn small() -> Operations {
    let flow = Settings { fair: true, reading: 20, mutating: 10, lending: Duration::from_secs(3600) };
    Operations { flow, request_timeout: Duration::from_secs(600), ..Operations::default() }
}

async fn eventually(s: &Server, uri: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..400 {
        let answer = s.get(uri).await;
        if wanted(&answer.body) {
            return answer.body;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{uri} stays {}", s.get(uri).await.body)
}

fn dangling(schema: &Value) -> Option<&str> {
    let conditions = schema["status"]["conditions"].as_array()?;
    conditions.iter().find(|c| c["type"] == "Dangling")?["status"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suggested_levels_and_schemas_are_there_and_stay() {
    let (s, _dir) = server().await;
    let schemas = s.get(SCHEMAS).await.expect(200);
    assert_eq!(names(&schemas).len(), 11);
    assert_eq!(names(&s.get(LEVELS).await.expect(200)).len(), 8);
    eventually(&s, &format!("{SCHEMAS}/global-default"), |o| dangling(o) == Some("False")).await;
    // A mandatory one comes back, and is put right.
    s.delete(&format!("{SCHEMAS}/exempt"), Value::Null).await.expect(200);
    eventually(&s, &format!("{SCHEMAS}/exempt"), |o| o["spec"]["matchingPrecedence"] == 1).await;
    let shares = |n: u32| json!({"spec": {"limited": {"nominalConcurrencyShares": n}}});
    s.patch(&format!("{LEVELS}/catch-all"), MERGE, shares(77)).await.expect(200);
    eventually(&s, &format!("{LEVELS}/catch-all"), |o| o["spec"]["limited"]["nominalConcurrencyShares"] == 5).await;
    // A suggested one is the operator's once he says so.
    let mut own = shares(50);
    own["metadata"] = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}});
    s.patch(&format!("{LEVELS}/workload-low"), MERGE, own).await.expect(200);
    s.delete(&format!("{LEVELS}/catch-all"), Value::Null).await.expect(200);
    eventually(&s, &format!("{LEVELS}/catch-all"), |o| o["kind"] == "PriorityLevelConfiguration").await;
    let kept = s.get(&format!("{LEVELS}/workload-low")).await.expect(200);
    assert_eq!(kept["spec"]["limited"]["nominalConcurrencyShares"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_says_whether_its_level_is_there() {
    let (s, _dir) = server().await;
    let subject = json!({"kind": "User", "user": {"name": "jane"}});
    let rules = json!([{"subjects": [subject], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]);
    let schema = json!({"metadata": {"name": "mine"}, "spec": {"priorityLevelConfiguration": {"name": "later"}, "rules": rules}});
    s.post(SCHEMAS, schema).await.expect(201);
    let told = eventually(&s, &format!("{SCHEMAS}/mine"), |o| dangling(o) == Some("True")).await;
    assert_eq!(told["status"]["conditions"][0]["reason"], "NotFound");
    let level = json!({"metadata": {"name": "later"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
    s.post(LEVELS, level).await.expect(201);
    eventually(&s, &format!("{SCHEMAS}/mine"), |o| dangling(o) == Some("False")).await;
    // Its requests are told apart from then on.
    let answer = s.send_as(&Arc::new(User::new("jane", &["system:authenticated"])), "GET", "/version", Value::Null).await;
    assert_eq!(answer.headers()["x-kubernetes-pf-flowschema-uid"], told["metadata"]["uid"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_and_nodes_get_through_a_flood() {
    let dir = Dir::new();
    let gate = Arc::new(Semaphore::new(0));
    let handler = Slow(gate.clone(), Arc::default());
    let s = handling(&dir, small(), |handlers| handlers.route(SLOW, Arc::new(handler))).await;
    let mallory = Arc::new(User::new("mallory", &["system:authenticated"]));
    let flood: Vec<_> = (0..500)
        .map(|_| {
            let (s, mallory) = (s.clone(), mallory.clone());
            tokio::spawn(async move { s.send_as(&mallory, "GET", SLOW, Value::Null).await })
        })
        .collect();
    // Three run, her six queues hold fifty each, and the rest are sent away.
    eventually_text(&s, "/debug/api_priority_and_fairness/dump_priority_levels", "300,").await;

    let leader = Arc::new(User::new("system:kube-controller-manager", &["system:authenticated"]));
    let node = Arc::new(User::new("system:node:n", &["system:nodes", "system:authenticated"]));
    for (user, namespace, name) in [(&leader, "kube-system", "leader"), (&node, "kube-node-lease", "n")] {
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let mut lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": "me"}});
        for n in 0..20 {
            let (method, uri) = if n == 0 { ("POST", leases.clone()) } else { ("PUT", format!("{leases}/{name}")) };
            lease["spec"]["leaseTransitions"] = json!(n);
            let renewed = tokio::time::timeout(Duration::from_secs(20), s.send_as(user, method, &uri, lease)).await;
            lease = read(renewed.expect("a lease is not made to wait")).await.expect(if n == 0 { 201 } else { 200 });
        }
    }
    // Another of her kind waits for his turn, which comes before most of hers.
    let bob = Arc::new(User::new("bob", &["system:authenticated"]));
    let bobs = tokio::spawn({
        let (s, bob) = (s.clone(), bob.clone());
        async move { s.send_as(&bob, "GET", SLOW, Value::Null).await.status().as_u16() }
    });
    eventually_text(&s, "/debug/api_priority_and_fairness/dump_priority_levels", "301,").await;
    eventually_text(&s, "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1", " bob,").await;
    gate.add_permits(60);
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), bobs).await.expect("fairness").unwrap(), 200);
    gate.add_permits(10_000);
    let mut refused = 0;
    for answer in flood {
        let answer = answer.await.unwrap();
        if answer.status() == 429 {
            refused += 1;
            assert!(answer.headers().contains_key("retry-after") && answer.headers().contains_key("x-kubernetes-pf-prioritylevel-uid"));
        }
    }
    assert_eq!(refused, 500 - 300 - 3);
}

async fn eventually_text(s: &Server, uri: &str, wanted: &str) {
    let mut told = String::new();
    for _ in 0..400 {
        let answer = s.send("GET", uri, &[], String::new()).await;
        let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.lines().any(|l| l.starts_with("global-default,") && l.contains(wanted)) {
            return;
        }
        told = text;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{wanted} does not come: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_priorities_there_is_one_limit_for_all() {
    let dir = Dir::new();
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::new(AtomicUsize::new(0));
    let handler = Slow(gate.clone(), entered.clone());
    let flow = Settings { fair: false, reading: 2, mutating: 1, ..Settings::default() };
    let operations = Operations { flow, ..Operations::default() };
    let s = handling(&dir, operations, |handlers| handlers.route(SLOW, Arc::new(handler))).await;
    let jane = Arc::new(User::new("jane", &["system:authenticated"]));
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (s, jane) = (s.clone(), jane.clone());
            tokio::spawn(async move { s.send_as(&jane, "GET", SLOW, Value::Null).await.status().as_u16() })
        })
        .collect();
    while entered.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(s.send_as(&jane, "GET", "/version", Value::Null).await.status(), 429);
    assert_eq!(s.send_as(&jane, "POST", MAPS, json!({"metadata": {"name": "a"}})).await.status(), 201);
    s.get("/version").await.expect(200);
    gate.add_permits(100);
    for answer in held {
        assert_eq!(answer.await.unwrap(), 200);
    }
}

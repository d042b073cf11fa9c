use crate::support::*;
use apiserver::{Operations, User, audit};
use serde_json::{Value, json};
use std::sync::Arc;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  nonResourceURLs: ["/livez*"]
- level: RequestResponse
  resources: [{group: "", resources: [configmaps]}]
  verbs: [create, patch]
- level: Metadata
"#;

/// What was written of requests for `path`, once there are `enough`.
async fn written(path: &std::path::Path, uri: &str, enough: usize) -> Vec<Value> {
    for _ in 0..400 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let events = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let events: Vec<Value> = events.filter(|e| e["requestURI"].as_str().is_some_and(|u| u.starts_with(uri))).collect();
        if events.len() >= enough {
            return events;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("not enough about {uri} in {}", std::fs::read_to_string(path).unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_written_as_the_policy_says() {
    let dir = Dir::new();
    let log = std::env::temp_dir().join(format!("audit-requests-{}.log", uuid::Uuid::new_v4()));
    let audit = audit::Config { policy: audit::Policy::parse(POLICY).unwrap(), log: audit::LogFile::new(&log) };
    let s = operated(&dir, Operations { audit: Some(audit), ..Operations::default() }).await;
    let answer = s
        .send(
            "POST",
            MAPS,
            &[("content-type", JSON), ("audit-id", "mine"), ("user-agent", "test/1")],
            json!({"metadata": {"name": "m"}, "data": {"a": "b"}}).to_string(),
        )
        .await;
    assert_eq!((answer.status().as_u16(), answer.headers()["audit-id"].to_str().unwrap()), (201, "mine"));
    s.get("/livez").await;
    s.get(&format!("{MAPS}/none")).await.expect(404);
    s.patch(&format!("{MAPS}/m"), MERGE, json!({"data": {"c": "d"}})).await.expect(200);
    let as_jane = [("impersonate-user", "jane")];
    assert_eq!(s.send("GET", "/version", &as_jane, String::new()).await.status(), 200);
    let watched = s.events(&format!("{MAPS}?watch=1"), 1).await;
    assert_eq!(types(&watched), ["ADDED"]);

    let created = &written(&log, MAPS, 1).await[0];
    assert_eq!(
        (&created["auditID"], &created["stage"], &created["level"]),
        (&json!("mine"), &json!("ResponseComplete"), &json!("RequestResponse"))
    );
    assert_eq!(created["user"]["username"], "test");
    assert_eq!((&created["userAgent"], &created["objectRef"]["resource"]), (&json!("test/1"), &json!("configmaps")));
    assert_eq!((&created["responseStatus"]["code"], &created["requestObject"]["data"]), (&json!(201), &json!({"a": "b"})));
    assert!(created["responseObject"]["metadata"]["uid"].is_string() && created["responseObject"]["metadata"]["managedFields"].is_null());
    assert_eq!(created["annotations"]["authorization.k8s.io/decision"], "allow");

    let missing = &written(&log, &format!("{MAPS}/none"), 1).await[0];
    assert_eq!((&missing["level"], &missing["responseStatus"]["reason"]), (&json!("Metadata"), &json!("NotFound")));
    let patched = &written(&log, &format!("{MAPS}/m"), 1).await[0];
    assert_eq!(patched["requestObject"], json!({"data": {"c": "d"}}));
    let version = &written(&log, "/version", 1).await[0];
    assert_eq!((&version["user"]["username"], &version["impersonatedUser"]["username"]), (&json!("test"), &json!("jane")));
    let watch = written(&log, &format!("{MAPS}?watch"), 2).await;
    let stages: Vec<&Value> = watch.iter().map(|e| &e["stage"]).collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"]);
    assert!(!std::fs::read_to_string(&log).unwrap().contains("/livez"));
    std::fs::remove_file(&log).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_written_too() {
    let dir = Dir::new();
    let log = std::env::temp_dir().join(format!("audit-strangers-{}.log", uuid::Uuid::new_v4()));
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
    let audit = audit::Config { policy: audit::Policy::parse(policy).unwrap(), log: audit::LogFile::new(&log) };
    let s = operated(&dir, Operations { audit: Some(audit), ..Operations::default() }).await;
    let request = http::Request::get(MAPS).body(apiserver::body::empty()).unwrap();
    assert_eq!(s.api.handle(request).await.status(), 401);
    let events = written(&log, MAPS, 2).await;
    assert_eq!((&events[0]["stage"], &events[1]["responseStatus"]["code"]), (&json!("RequestReceived"), &json!(401)));
    let jane = Arc::new(User::new("jane", &["system:authenticated"]));
    s.send_as(&jane, "GET", "/api", Value::Null).await;
    assert_eq!(written(&log, "/api", 4).await.last().unwrap()["user"]["username"], "jane");
    std::fs::remove_file(&log).unwrap();
}

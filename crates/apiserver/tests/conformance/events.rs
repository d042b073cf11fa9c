//! One store of events, seen through two groups.

use crate::support::*;
use serde_json::{Value, json};

const CORE: &str = "/api/v1/namespaces/default/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn core(name: &str) -> Value {
    let about = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    json!({"metadata": {"name": name, "labels": {"testevent-set": "true"}}, "message": "This is a test", "reason": "Test", "type": "Normal",
        "count": 1, "involvedObject": about, "source": {"component": "test"}})
}

fn new(name: &str) -> Value {
    let about = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    json!({"metadata": {"name": name, "labels": {"testevent-set": "true"}}, "eventTime": "2024-01-02T03:04:05.123456Z", "note": "This is a test",
        "reason": "Test", "action": "Do", "type": "Normal", "regarding": about, "reportingController": "test", "reportingInstance": "test-1"})
}

/// Behaviour: [sig-instrumentation] Events should manage the lifecycle of an event
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_made_found_everywhere_changed_and_deleted() {
    let (s, _dir) = server().await;
    s.post(CORE, core("e")).await.expect(201);
    assert_eq!(names(&s.get("/api/v1/events?labelSelector=testevent-set").await.expect(200)), ["e"]);
    let one = format!("{CORE}/e");
    let patched = s.patch(&one, STRATEGIC, json!({"message": "This is a test event - patched"})).await.expect(200);
    assert_eq!(s.get(&one).await.expect(200), patched);
    let mut update = patched.clone();
    update["series"] = json!({"count": 100, "lastObservedTime": "2024-01-02T03:04:05.000000Z"});
    let updated = s.put(&one, update).await.expect(200);
    assert_eq!(updated["series"]["count"], 100);
    assert_eq!(names(&s.get(&format!("{CORE}?fieldSelector=involvedObject.name%3Dp,reason%3DTest")).await.expect(200)), ["e"]);
    s.delete(&one, Value::Null).await.expect(200);
    assert!(names(&s.get("/api/v1/events?labelSelector=testevent-set").await.expect(200)).is_empty());
}

/// Behaviour: [sig-instrumentation] Events API should ensure that an event can be fetched, patched, deleted, and listed
#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_is_fetched_patched_updated_and_listed() {
    let (s, _dir) = server().await;
    let made = s.post(NEW, new("e")).await.expect(201);
    assert_eq!(made["eventTime"], "2024-01-02T03:04:05.123456Z");
    for list in [NEW, "/apis/events.k8s.io/v1/events"] {
        assert_eq!(names(&s.get(list).await.expect(200)), ["e"]);
    }
    assert_eq!(names(&s.get(&format!("{NEW}?fieldSelector=reportingController%3Dtest")).await.expect(200)), ["e"]);
    let one = format!("{NEW}/e");
    let series = json!({"series": {"count": 2, "lastObservedTime": "2024-01-02T03:05:05.000000Z"}});
    let patched = s.patch(&one, STRATEGIC, series.clone()).await.expect(200);
    assert_eq!(patched["series"], series["series"]);
    let mut update = patched.clone();
    update["series"]["count"] = json!(3);
    assert_eq!(s.put(&one, update.clone()).await.expect(200)["series"]["count"], 3);
    // The old group shows the same event in its own words.
    let old = s.get(&format!("{CORE}/e")).await.expect(200);
    assert_eq!((&old["message"], &old["involvedObject"]["name"]), (&json!("This is a test"), &json!("p")));
    s.delete(&one, Value::Null).await.expect(200);
    s.get(&one).await.expect(404);
    s.get(&format!("{CORE}/e")).await.expect(404);
}

async fn deleted_together(uri: &str, event: fn(&str) -> Value) {
    let (s, _dir) = server().await;
    for name in ["a", "b", "c"] {
        s.post(uri, event(name)).await.expect(201);
    }
    let mut other = event("other");
    other["metadata"]["labels"] = json!({});
    s.post(uri, other).await.expect(201);
    let set = format!("{uri}?labelSelector=testevent-set%3Dtrue");
    assert_eq!(names(&s.get(&set).await.expect(200)), ["a", "b", "c"]);
    s.delete(&set, Value::Null).await.expect(200);
    assert_eq!(names(&s.get(uri).await.expect(200)), ["other"]);
}

/// Behaviour: [sig-instrumentation] Events should delete a collection of events
#[tokio::test(flavor = "multi_thread")]
async fn labelled_events_are_deleted_together() {
    deleted_together(CORE, core).await;
}

/// Behaviour: [sig-instrumentation] Events API should delete a collection of events
#[tokio::test(flavor = "multi_thread")]
async fn labelled_new_events_are_deleted_together() {
    deleted_together(NEW, new).await;
}

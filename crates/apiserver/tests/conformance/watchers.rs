use crate::support::*;
use serde_json::{Value, json};

fn label(value: &str) -> Value {
    json!({"metadata": {"labels": {"n": value}}})
}

/// Behaviour: [sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps
#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_two_labels_see_each_their_own_and_a_third_sees_both() {
    let (s, _dir) = server().await;
    let start = version(&s.get(MAPS).await.expect(200));
    for name in ["a", "b"] {
        s.map(name).await;
        s.patch(&format!("{MAPS}/{name}"), MERGE, json!({"data": {"mutation": "1"}})).await.expect(200);
        s.delete(&format!("{MAPS}/{name}"), Value::Null).await.expect(200);
    }
    let seen = async |selector: &str, enough| {
        let events = s.events(&format!("{MAPS}?watch=1&resourceVersion={start}&labelSelector={selector}"), enough).await;
        events
            .iter()
            .map(|e| format!("{} {}", e["type"].as_str().unwrap(), e["object"]["metadata"]["name"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen("n%3Da", 3).await, ["ADDED a", "MODIFIED a", "DELETED a"]);
    assert_eq!(seen("n%3Db", 3).await, ["ADDED b", "MODIFIED b", "DELETED b"]);
    assert_eq!(seen("n%20in%20(a,b)", 6).await, ["ADDED a", "MODIFIED a", "DELETED a", "ADDED b", "MODIFIED b", "DELETED b"]);
}

/// Behaviour: [sig-api-machinery] Watchers should be able to start watching from a specific resource version
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_version_starts_right_after_it() {
    let (s, _dir) = server().await;
    s.map("a").await;
    let a = format!("{MAPS}/a");
    let first = s.patch(&a, MERGE, json!({"data": {"mutation": "1"}})).await.expect(200);
    s.patch(&a, MERGE, json!({"data": {"mutation": "2"}})).await.expect(200);
    s.delete(&a, Value::Null).await.expect(200);
    let events = s.events(&format!("{MAPS}?watch=1&resourceVersion={}", version(&first)), 2).await;
    assert_eq!(types(&events), ["MODIFIED", "DELETED"]);
    assert_eq!(events[1]["object"]["data"]["mutation"], "2");
}

/// Behaviour: [sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by the previous watch
#[tokio::test(flavor = "multi_thread")]
async fn a_second_watch_goes_on_where_the_first_ended() {
    let (s, _dir) = server().await;
    let start = version(&s.get(MAPS).await.expect(200));
    s.map("a").await;
    let a = format!("{MAPS}/a");
    s.patch(&a, MERGE, json!({"data": {"mutation": "1"}})).await.expect(200);
    let before = s.events(&format!("{MAPS}?watch=1&resourceVersion={start}"), 2).await;
    // Nobody watches while these happen.
    s.patch(&a, MERGE, json!({"data": {"mutation": "2"}})).await.expect(200);
    s.delete(&a, Value::Null).await.expect(200);
    let events = s.events(&format!("{MAPS}?watch=1&resourceVersion={}", version(&before[1]["object"])), 2).await;
    assert_eq!((types(&events), &events[0]["object"]["data"]["mutation"]), (vec!["MODIFIED", "DELETED"], &json!("2")));
}

/// Behaviour: [sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the selector
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_leaves_the_selector_is_deleted_and_added_when_it_comes_back() {
    let (s, _dir) = server().await;
    let start = version(&s.map("other").await);
    s.map("a").await;
    let a = format!("{MAPS}/a");
    s.patch(&a, MERGE, label("elsewhere")).await.expect(200);
    // Not seen: it does not meet the selector at that time.
    s.patch(&a, MERGE, json!({"data": {"mutation": "1"}})).await.expect(200);
    s.patch(&a, MERGE, label("a")).await.expect(200);
    s.patch(&a, MERGE, json!({"data": {"mutation": "2"}})).await.expect(200);
    s.delete(&a, Value::Null).await.expect(200);
    let events = s.events(&format!("{MAPS}?watch=1&resourceVersion={start}&labelSelector=n%3Da"), 5).await;
    assert_eq!(types(&events), ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(events[2]["object"]["data"]["mutation"], "1");
    assert_eq!(events[4]["object"]["data"]["mutation"], "2");
}

/// Behaviour: [sig-api-machinery] Watchers should receive events on concurrent watches in same order
#[tokio::test(flavor = "multi_thread")]
async fn watches_begun_at_any_version_see_one_order() {
    let (s, _dir) = server().await;
    let start = version(&s.map("first").await);
    let writer = tokio::spawn({
        let s = s.clone();
        async move {
            for n in 0..40 {
                let name = format!("m{}", n % 5);
                match n / 5 % 3 {
                    0 => drop(s.map(&name).await),
                    1 => drop(s.patch(&format!("{MAPS}/{name}"), MERGE, json!({"data": {"n": n.to_string()}})).await.expect(200)),
                    _ => drop(s.delete(&format!("{MAPS}/{name}"), Value::Null).await.expect(200)),
                }
            }
        }
    });
    let all = s.events(&format!("{MAPS}?watch=1&resourceVersion={start}"), 40).await;
    writer.await.unwrap();
    let order = |events: &[Value]| events.iter().map(|e| version(&e["object"])).collect::<Vec<_>>();
    assert!(order(&all).is_sorted());
    let later = (1..40).map(|skip| {
        let (s, since) = (s.clone(), version(&all[skip - 1]["object"]));
        async move { s.events(&format!("{MAPS}?watch=1&resourceVersion={since}"), 40 - skip).await }
    });
    for (events, skip) in futures::future::join_all(later).await.iter().zip(1..) {
        assert_eq!(order(events), order(&all)[skip..]);
    }
}

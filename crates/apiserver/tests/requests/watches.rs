use crate::support::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_from_a_revision() {
    let (s, _dir) = server().await;
    let a = s.map("a").await;
    s.map("b").await;
    s.patch(&format!("{MAPS}/a"), MERGE, json!({"metadata": {"labels": {"n": "z"}}})).await.expect(200);
    s.delete(&format!("{MAPS}/b"), Value::Null).await.expect(200);
    let since = version(&a);
    let all = s.events(&format!("{MAPS}?watch=true&resourceVersion={since}"), 3).await;
    assert_eq!(types(&all), ["ADDED", "MODIFIED", "DELETED"]);
    assert!(all.windows(2).all(|w| version(&w[0]["object"]) < version(&w[1]["object"])));
    // What no longer fits the selector is gone for the watcher.
    let events = s.events(&format!("{MAPS}?watch=true&resourceVersion={since}&labelSelector=n%3Da"), 1).await;
    assert_eq!(types(&events), ["DELETED"]);
    // Without a revision: what is there, first.
    let events = s.events(&format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Da"), 1).await;
    assert_eq!((types(&events), &events[0]["object"]["metadata"]["name"]), (vec!["ADDED"], &json!("a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_events_end_with_a_bookmark() {
    let (s, _dir) = server().await;
    s.map("a").await;
    let b = s.map("b").await;
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let events = s.events(&format!("{MAPS}?{query}"), 3).await;
    assert_eq!(types(&events), ["ADDED", "ADDED", "BOOKMARK"]);
    let end = &events[2]["object"];
    assert_eq!(end["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(version(end) >= version(&b));
    s.get(&format!("{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=Exact")).await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_revision_is_expired() {
    let dir = Dir::new();
    let first = open(&dir).await;
    let a = first.map("a").await;
    first.map("b").await;
    let now = first.map("c").await;
    first.api.store().compact(version(&now)).await.unwrap();
    first.stop.cancel();
    drop(first);
    // The new server's caches begin after what was forgotten.
    let s = open(&dir).await;
    let uri = format!("{MAPS}?watch=1&resourceVersion={}", version(&a));
    let answer = s.send("GET", &uri, &[], String::new()).await;
    if answer.status() == 200 {
        let events = s.events(&uri, 1).await;
        assert_eq!((types(&events), &events[0]["object"]["code"]), (vec!["ERROR"], &json!(410)));
    } else {
        assert_eq!(answer.status(), 410);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_under_concurrent_writers() {
    let (s, _dir) = server().await;
    let since = version(&s.map("a").await);
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let s = s.clone();
            tokio::spawn(async move {
                for n in 0..25 {
                    s.map(&format!("w{w}-{n}")).await;
                }
            })
        })
        .collect();
    let events = s.events(&format!("{MAPS}?watch=1&resourceVersion={since}"), 100).await;
    for writer in writers {
        writer.await.unwrap();
    }
    let seen: BTreeSet<&str> = events.iter().map(|e| e["object"]["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!((events.len(), seen.len()), (100, 100));
    assert!(events.windows(2).all(|w| version(&w[0]["object"]) < version(&w[1]["object"])));
}

//! What watchers are told, held against what was written: nothing lost, doubled or out of order, however slow they
//! are, wherever their connection ends, and across restarts of the server.

use crate::support::*;
use futures::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIVES: u64 = 3;
const LIFE: Duration = Duration::from_millis(1200);
const WRITERS: usize = 4;

/// A watcher's story so far.
#[derive(Clone)]
struct Watcher {
    /// How long it sits over each piece of its stream.
    pause: Duration,
    /// How long each of its watches lasts.
    seconds: u64,
    version: u64,
    seen: Vec<(u64, String, String)>,
    there: BTreeMap<String, Value>,
}

impl Watcher {
    fn take(&mut self, event: &Value) {
        let object = &event["object"];
        let (ty, now) = (event["type"].as_str().unwrap(), version(object));
        assert!(now > self.version || (ty == "BOOKMARK" && now == self.version), "{now} after {}: {event}", self.version);
        self.version = now;
        if ty == "BOOKMARK" {
            return;
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_string();
        let before = if ty == "DELETED" { self.there.remove(&name) } else { self.there.insert(name.clone(), object.clone()) };
        assert_eq!(before.is_some(), ty != "ADDED", "{event} after {before:?}");
        self.seen.push((now, ty.into(), name));
    }

    /// Watches, again and again, until the time is over or everything up to `last` has been told.
    async fn run(mut self, server: Server, until: Instant, last: Option<u64>) -> Self {
        let over = |w: &Self| last.map_or_else(|| Instant::now() > until, |last| w.version >= last);
        while !over(&self) {
            assert!(last.is_none() || Instant::now() < until, "{} of {last:?} after a long time", self.version);
            let (from, seconds) = (self.version, self.seconds);
            let uri = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={from}&timeoutSeconds={seconds}");
            let answer = server.send("GET", &uri, &[], String::new()).await;
            let mut stream = answer.into_body().into_data_stream();
            let mut bytes = Vec::new();
            while !over(&self) {
                let Ok(chunk) = tokio::time::timeout(Duration::from_millis(200), stream.next()).await else { continue };
                let Some(chunk) = chunk else { break };
                bytes.extend_from_slice(&chunk.unwrap());
                while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = bytes.drain(..=end).collect();
                    self.take(&serde_json::from_slice(&line).unwrap());
                }
                tokio::time::sleep(self.pause).await;
            }
        }
        self
    }
}

/// Creates, changes and deletes; what each write came to.
async fn write(server: Server, writer: usize, until: Instant) -> Vec<(u64, String, String)> {
    let mut written = Vec::new();
    for i in 0.. {
        if Instant::now() > until {
            break;
        }
        let name = format!("w{writer}-{}", i % 7);
        let uri = format!("{MAPS}/{name}");
        let answer = server.post(MAPS, json!({"metadata": {"name": name}})).await;
        if answer.code == 201 {
            written.push((version(&answer.body), "ADDED".into(), name.clone()));
        }
        let changed = server.patch(&uri, MERGE, json!({"data": {"i": i.to_string()}})).await.expect(200);
        written.push((version(&changed), "MODIFIED".into(), name.clone()));
        if i % 3 == 0 {
            server.delete(&uri, Value::Null).await.expect(200);
            written.push((0, "DELETED".into(), name));
        }
    }
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watcher_is_told_the_whole_story_across_restarts() {
    let dir = Dir::new();
    let watcher =
        |pause, seconds| Watcher { pause: Duration::from_millis(pause), seconds, version: 0, seen: Vec::new(), there: BTreeMap::new() };
    let mut watchers = vec![watcher(0, 60), watcher(0, 1), watcher(5, 60), watcher(50, 1)];
    let mut written = Vec::new();
    for life in 0..=LIVES {
        let server = open(&dir).await;
        if life == 0 {
            let from = version(&server.get(MAPS).await.expect(200));
            watchers.iter_mut().for_each(|w| w.version = from);
        }
        let until = Instant::now() + LIFE;
        let (mut writing, mut last) = (tokio::task::JoinSet::new(), None);
        if life < LIVES {
            (0..WRITERS).for_each(|w| drop(writing.spawn(write(server.clone(), w, until))));
        } else {
            last = Some(version(&server.map("the-end").await));
            // The slow ones are far behind by now, and may hurry to the end.
            watchers.iter_mut().for_each(|w| w.pause = Duration::ZERO);
        }
        let patience = if last.is_some() { until + Duration::from_secs(30) } else { until };
        let watching = watchers.into_iter().map(|w| tokio::spawn(w.run(server.clone(), patience, last)));
        watchers = futures::future::try_join_all(watching.collect::<Vec<_>>()).await.unwrap();
        written.extend(writing.join_all().await.concat());
        if last.is_some() {
            let list = server.get(MAPS).await.expect(200);
            let there: BTreeMap<String, Value> = list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|o| (o["metadata"]["name"].as_str().unwrap().to_string(), o.clone()))
                .collect();
            for watcher in &watchers {
                assert_eq!(watcher.seen, watchers[0].seen);
                assert_eq!(watcher.there.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
                assert!(watcher.there.iter().all(|(name, object)| version(object) == version(&there[name])));
            }
        }
        server.stop.cancel();
    }
    written.sort();
    let (deleted, versioned): (Vec<_>, Vec<_>) = written.into_iter().partition(|(_, ty, _)| ty == "DELETED");
    let told = |wanted: bool| watchers[0].seen.iter().filter(move |(_, ty, name)| (ty == "DELETED") == wanted && name != "the-end");
    assert_eq!(told(false).cloned().collect::<Vec<_>>(), versioned);
    assert_eq!(told(true).count(), deleted.len());
    assert!(versioned.len() > 100, "only {} writes", versioned.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_and_future_versions_are_refused_as_upstream_does() {
    let dir = Dir::new();
    let server = open(&dir).await;
    let old = version(&server.map("a").await);
    let new = version(&server.map("b").await);
    let store: Arc<dyn store::Store> = server.api.store().clone();
    store.compact(new).await.unwrap();
    server.stop.cancel();
    drop((store, server));
    let server = open(&dir).await;
    let events = server.events(&format!("{MAPS}?watch=true&resourceVersion={old}"), 1).await;
    assert_eq!(
        (&events[0]["type"], &events[0]["object"]["reason"], &events[0]["object"]["code"]),
        (&json!("ERROR"), &json!("Expired"), &json!(410))
    );
    let message = events[0]["object"]["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("too old resource version: {old} (")), "{message}");
    let future = new + 1_000_000;
    for uri in [format!("{MAPS}?resourceVersion={future}"), format!("{MAPS}/a?resourceVersion={future}")] {
        let refused = server.get(&uri).await.expect(504);
        let current = version(&server.get(MAPS).await.expect(200));
        assert_eq!((&refused["reason"], &refused["details"]["retryAfterSeconds"]), (&json!("Timeout"), &json!(1)));
        assert_eq!(refused["message"], format!("Too large resource version: {future}, current: {current}"));
        assert_eq!(refused["details"]["causes"], json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]));
    }
    // A token of a cluster whose revisions are far ahead.
    let token = server.get(&format!("{MAPS}?limit=1")).await.expect(200)["metadata"]["continue"].as_str().unwrap().to_string();
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut foreign: Value = serde_json::from_slice(&engine.decode(token).unwrap()).unwrap();
    foreign["rv"] = json!(future);
    let foreign = engine.encode(foreign.to_string());
    let refused = server.get(&format!("{MAPS}?limit=1&continue={foreign}")).await.expect(504);
    assert_eq!(refused["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    server.get(&format!("{MAPS}?continue=nonsense")).await.expect(400);
}

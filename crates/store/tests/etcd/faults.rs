//! Members that die, freeze, and come back.

use crate::cluster::Cluster;
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Error, Etcd, Op, Range, Revision, Store, WatchBatch, WatchEvent, WatchRequest, Write, WriteResult};

fn create(key: String) -> Write {
    Write { expected: Some(0), op: Op::Put { value: key.clone().into_bytes().into(), lease: 0 }, key }
}

/// Writers that make one key after the other, each once; what was acknowledged with its revision.
async fn keep_creating(store: Arc<Etcd>, writer: usize, until: Instant) -> HashMap<String, Revision> {
    let mut acknowledged = HashMap::new();
    for i in 0.. {
        if Instant::now() > until {
            break;
        }
        let key = format!("/w/{writer}/{i:06}");
        // Written once or refused; never "somebody else has made it", since nobody else does.
        match store.write(create(key.clone())).await {
            Ok(WriteResult::Done { revision, .. }) => drop(acknowledged.insert(key, revision)),
            Ok(WriteResult::Conflict { .. }) => panic!("{key} was made twice"),
            Err(Error::Timeout(_) | Error::Unavailable(_)) => {}
            Err(error) => panic!("{key}: {error}"),
        }
    }
    acknowledged
}

/// All creations as one watch shows them, taken up again wherever it breaks.
async fn keep_watching(store: Arc<Etcd>, from: Revision, count: usize) -> Vec<(String, Revision)> {
    let mut seen: Vec<(String, Revision)> = Vec::new();
    let mut next = from;
    'open: while seen.len() < count {
        let request = WatchRequest { start: "/w/".into(), end: "/w0".into(), from: next, previous: false };
        let Ok(mut stream) = store.watch(request).await else { continue };
        while let Some(Ok(batch)) = stream.next().await {
            let (WatchBatch::Events { revision, .. } | WatchBatch::Progress(revision)) = &batch;
            next = revision + 1;
            if let WatchBatch::Events { events, .. } = batch {
                for event in events {
                    let WatchEvent::Put { kv, .. } = event else { panic!("{event:?}") };
                    seen.push((kv.key.to_string(), kv.mod_revision));
                }
            }
            if seen.len() >= count {
                break 'open;
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn members_killed_and_frozen_mid_write_lose_and_double_nothing() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let store = Arc::new(cluster.connect_with(&cluster.config()).await);
    let from = store.revision().await.unwrap() + 1;
    let until = Instant::now() + Duration::from_secs(16);
    let writers: Vec<_> = (0..4).map(|w| tokio::spawn(keep_creating(store.clone(), w, until))).collect();
    for (round, victim) in [0, 1, 2, 0].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        if round % 2 == 0 {
            cluster.kill(victim);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            cluster.run(victim);
        } else {
            cluster.freeze(victim);
            tokio::time::sleep(Duration::from_millis(2500)).await;
            cluster.thaw(victim);
        }
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    let mut acknowledged = HashMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let found = store.range(Range::prefix("/w/")).await.unwrap();
    let stored: HashMap<String, Revision> = found.kvs.iter().map(|kv| (kv.key.to_string(), kv.mod_revision)).collect();
    for (key, revision) in &acknowledged {
        assert_eq!(stored.get(key), Some(revision), "{key} was acknowledged");
    }
    assert!(found.kvs.iter().all(|kv| kv.version == 1 && kv.value == kv.key.as_bytes()));
    assert!(acknowledged.len() > 200, "only {} writes", acknowledged.len());
    let seen = tokio::time::timeout(Duration::from_secs(30), keep_watching(store, from, stored.len())).await.unwrap();
    assert!(seen.is_sorted_by_key(|(_, revision)| *revision));
    assert_eq!(seen.into_iter().collect::<HashMap<_, _>>(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_it_refuses_in_time_and_with_one_it_goes_on() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let store = Arc::new(cluster.connect_with(&cluster.config()).await);
    store.write(create("/w/before".into())).await.unwrap();
    let from = store.revision().await.unwrap() + 1;
    let watching = tokio::spawn(keep_watching(store.clone(), from, 1));
    cluster.kill(0);
    cluster.kill(1);
    for write in [create("/w/refused".into()), Write { expected: None, ..create("/w/refused".into()) }] {
        let started = Instant::now();
        let refused = store.write(write).await;
        assert!(matches!(refused, Err(Error::Unavailable(_) | Error::Timeout(_))), "{refused:?}");
        assert!(started.elapsed() < Duration::from_secs(15), "not refused in bounded time");
    }
    assert!(matches!(store.revision().await, Err(Error::Unavailable(_) | Error::Timeout(_))));
    let read = store.range(Range::prefix("/w/")).await;
    assert!(matches!(read, Err(Error::Unavailable(_) | Error::Timeout(_))), "a read that cannot be current was answered: {read:?}");
    cluster.run(0);
    let healed = Instant::now();
    while store.write(create(format!("/w/after-{}", healed.elapsed().as_millis()))).await.is_err() {
        assert!(healed.elapsed() < Duration::from_secs(30), "the quorum is back, and nothing is written");
    }
    let seen = tokio::time::timeout(Duration::from_secs(30), watching).await.unwrap().unwrap();
    assert!(!seen.is_empty());
}

//! Snapshots: consistent while others write, verified, restored.

use super::snapshot::{RESTORED, inspect, restore};
use super::*;
use crate::WatchBatch;

async fn save(store: &Embedded, path: &Path) {
    let mut bytes = Vec::new();
    let mut stream = store.snapshot().await.unwrap();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_taken_while_others_write_is_one_moment_and_can_be_restored() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Arc::new(Embedded::open(dir.path()).unwrap());
    let lease = store.lease_grant(Duration::from_secs(3600)).await.unwrap();
    store.write(Write { key: "/k/leased".into(), expected: None, op: Op::Put { value: Bytes::from_static(b"x"), lease } }).await.unwrap();
    // Key b is always written after key a: in one moment a is as new as b, or one ahead.
    let writing = store.clone();
    let writer = tokio::spawn(async move {
        for i in 0u64.. {
            for key in ["/k/a", "/k/b"] {
                let value = Bytes::from(i.to_string());
                writing.write(Write { key: key.into(), expected: None, op: Op::Put { value, lease: 0 } }).await.unwrap();
            }
        }
    });
    while store.range(Range::prefix("/k/")).await.unwrap().count < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let file = other.path().join("snapshot");
    save(&store, &file).await;
    let after = store.revision().await.unwrap();
    writer.abort();
    let _ = writer.await;
    let summary = inspect(&file).unwrap();
    assert!(summary.revision <= after && summary.keys == 3, "{summary:?}");
    assert!(matches!(restore(&file, dir.path()), Err(Error::Locked(_))), "restored under a running store");
    drop(store);

    let restored = restore(&file, dir.path()).unwrap();
    assert_eq!((restored.summary.revision, restored.revision), (summary.revision, summary.revision + RESTORED));
    assert!(restored.replaced.is_some_and(|old| old.exists()));
    let store = Embedded::open(dir.path()).unwrap();
    let found = store.range(Range::prefix("/k/")).await.unwrap();
    let value = |i: usize| std::str::from_utf8(&found.kvs[i].value).unwrap().parse::<u64>().unwrap();
    assert!(value(0) == value(1) || value(0) == value(1) + 1, "{found:?}");
    // What clients remember from after the snapshot is the forgotten past, not somebody else's revision.
    let request = WatchRequest { start: "/k/".into(), end: "/k0".into(), from: after + 1, previous: false };
    assert!(matches!(store.watch(request).await, Err(Error::Compacted { .. })));
    let mut watch = store.watch(WatchRequest { start: "/k/".into(), end: "/k0".into(), from: 0, previous: false }).await.unwrap();
    store.lease_revoke(lease).await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(WatchBatch::Events { events, .. })) if events.len() == 1));
}

#[tokio::test]
async fn what_is_no_snapshot_is_refused_and_the_store_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    store.write(put("/k/a".into(), 1000)).await.unwrap();
    let file = dir.path().join("snapshot");
    save(&store, &file).await;
    drop(store);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.windows(100).position(|w| w.iter().all(|b| *b == b'x')).unwrap();
    bytes[middle] = b'y';
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(restore(&file, dir.path()), Err(Error::Corrupt(_))));
    let mut etcd = vec![0u8; 8192];
    etcd[16..20].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
    std::fs::write(&file, &etcd).unwrap();
    let refused = restore(&file, dir.path()).unwrap_err().to_string();
    assert!(refused.contains("etcdutl"), "{refused}");
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, 1);
}

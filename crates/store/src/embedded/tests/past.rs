//! History: how much of it is kept, and what forgetting it costs others.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn endless_updates_of_one_key_use_bounded_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open_bounded(dir.path(), 1 << 20).unwrap();
    let mut largest = 0;
    for _ in 0..300 {
        let writes = (0..64).map(|_| store.write(put("/k/one".into(), 1000)));
        futures::future::try_join_all(writes).await.unwrap();
        largest = largest.max(store.status().await.unwrap().size_bytes);
    }
    // 19 MiB were written.
    assert!(largest < 12 << 20, "{largest}");
    assert!(store.status().await.unwrap().compacted > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_while_history_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(dir.path()).unwrap());
    for _ in 0..2 {
        for start in (0..12_000).step_by(500) {
            let writes = (start..start + 500).map(|i| store.write(put(format!("/k/{i}"), 20)));
            futures::future::try_join_all(writes).await.unwrap();
        }
    }
    // So many that there is always one that waits.
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let (store, done, stop) = (store.clone(), done.clone(), stop.clone());
        writers.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                store.write(put(format!("/new/{writer}/{}", done.fetch_add(1, Ordering::AcqRel)), 20)).await.unwrap();
            }
        });
    }
    store.compact(store.revision().await.unwrap()).await.unwrap();
    let before = done.load(Ordering::Acquire);
    while store.shared.index.read().past_bytes > 0 {
        tokio::task::yield_now().await;
    }
    let between = done.load(Ordering::Acquire) - before;
    stop.store(true, Ordering::Release);
    writers.join_all().await;
    assert!(between > 5, "only {between} writes were let in between");
}

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
    assert!(largest < 8 << 20, "{largest}");
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
    store.compact(store.revision().await.unwrap()).await.unwrap();
    let mut between = 0;
    while store.shared.index.read().past_bytes > 0 {
        store.write(Write { key: "/other".into(), expected: Some(0), op: Op::Delete }).await.unwrap();
        store.write(put(format!("/k/new-{between}"), 20)).await.unwrap();
        between += 1;
    }
    assert!(between > 5, "only {between} writes were let in between");
}

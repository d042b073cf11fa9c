//! History: how much of it is kept, and what forgetting it costs others.

use super::disk::Simulated;
use super::rewrite::Meddled;
use super::*;
use futures::FutureExt;

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
    const KEYS: u64 = 12_000;
    let (gate, passes) = std::sync::mpsc::channel::<()>();
    let (passes, closed, reached) = (parking_lot::Mutex::new(passes), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_closed, at_gate) = (closed.clone(), reached.clone());
    let before = move || {
        if is_closed.load(Ordering::Acquire) {
            at_gate.store(true, Ordering::Release);
            // Until the other end is dropped.
            let _ = passes.lock().recv();
        }
        Ok(())
    };
    let disk = Arc::new(Meddled { inner: Arc::new(Simulated::default()), before: Arc::new(before) });
    let store = Embedded::start("past".as_ref(), disk, None, PAST_BYTES).unwrap();
    for _ in 0..2 {
        for start in (0..KEYS).step_by(500) {
            let writes = (start..start + 500).map(|i| store.write(put(format!("/k/{i}"), 20)));
            futures::future::try_join_all(writes).await.unwrap();
        }
    }
    // While one write is held up, more than a few rounds of them begin to wait behind the compaction.
    let revision = store.revision().await.unwrap();
    closed.store(true, Ordering::Release);
    assert!(store.write(put("/held".into(), 20)).now_or_never().is_none());
    while !reached.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(store.compact(revision).now_or_never().is_none());
    for i in 0..KEYS {
        assert!(store.write(put(format!("/new/{i}"), 20)).now_or_never().is_none());
    }
    closed.store(false, Ordering::Release);
    drop(gate);
    loop {
        let (past, newest) = {
            let index = store.shared.index.read();
            (index.past_bytes, index.revision)
        };
        if past == 0 {
            assert!(newest > revision + KEYS / 3, "only {} writes were let in between", newest - revision);
            return;
        }
        tokio::task::yield_now().await;
    }
}

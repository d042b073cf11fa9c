//! Power cuts: what was written to the disk but not synced arrives in part, in any order, or torn.

use super::disk::Simulated;
use super::*;
use parking_lot::Mutex;
use std::collections::HashMap;

/// How many cuts; thousands for a night.
const CUTS: &str = "SOCLE_STORE_POWER_CUTS";
const WRITERS: u64 = 4;

/// With so little history that files are rewritten all the time.
fn open(disk: &Simulated) -> Embedded {
    Embedded::start("power".as_ref(), Arc::new(disk.clone()), None, 64 << 10).unwrap()
}

type Acknowledged = Arc<Mutex<HashMap<String, (u64, Revision)>>>;

fn writers(store: &Arc<Embedded>, from: u64, acknowledged: &Acknowledged) -> tokio::task::JoinSet<()> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        writers.spawn(async move {
            for number in from.. {
                let key = format!("/k/{writer}/{}", number % 20);
                let value = marked(&key, number, (number * 7919 % 5000) as usize);
                let done = store.write(Write { key: key.clone(), expected: None, op: Op::Put { value, lease: 0 } }).await;
                let Ok(WriteResult::Done { revision, .. }) = done else { panic!("{done:?}") };
                acknowledged.lock().insert(key, (number, revision));
            }
        });
    }
    writers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts_and_torn_writes() {
    let acknowledged = Acknowledged::default();
    let mut disk = Simulated::default();
    drop(open(&disk));
    let mut from = 0;
    for round in 0..rounds(CUTS, 150) {
        let mut random = Random(round);
        let store = Arc::new(open(&disk));
        let mut running = writers(&store, from, &acknowledged);
        let mut images = Vec::new();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_micros(random.below(4000))).await;
            // In this order: whatever is acknowledged before the cut has to survive it.
            let before = acknowledged.lock().clone();
            images.push((before, disk.cut(&mut random)));
        }
        running.shutdown().await;
        drop(store);
        for (known, image) in images {
            disk = image;
            let store = open(&disk);
            let found = store.range(Range::prefix("/k/")).await.unwrap();
            let stored: HashMap<&str, &KeyValue> = found.kvs.iter().map(|kv| (&*kv.key, kv)).collect();
            for kv in stored.values() {
                number(kv);
            }
            for (key, (last, revision)) in &known {
                let kv = stored.get(key.as_str()).unwrap_or_else(|| panic!("round {round}: {key} is gone"));
                assert!(kv.mod_revision >= *revision && number(kv) >= *last, "round {round}: {key} went back");
            }
            from = from.max(stored.values().map(|kv| number(kv)).max().unwrap_or(0) + 1);
            *acknowledged.lock() = stored.values().map(|kv| (kv.key.to_string(), (number(kv), kv.mod_revision))).collect();
        }
    }
    assert!(from > 100, "the writers wrote next to nothing");
}

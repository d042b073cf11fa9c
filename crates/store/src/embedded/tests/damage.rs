//! Files that were truncated or altered.

use super::*;

/// How many damaged copies are opened.
const ROUNDS: &str = "SOCLE_STORE_DAMAGE_ROUNDS";

async fn filled(dir: &Path) -> Vec<KeyValue> {
    let store = Embedded::open(dir).unwrap();
    for i in 0..150 {
        store.write(put(format!("/k/{}", i % 60), 500 + i * 13)).await.unwrap();
    }
    store.compact(70).await.unwrap();
    store.write(put("/k/last".into(), 10)).await.unwrap();
    store.range(Range::prefix("/k/")).await.unwrap().kvs
}

/// A damaged file is either refused in plain words, or the damage was where nothing is kept.
async fn refused_or_whole(damaged: &[u8], whole: &[KeyValue], what: &str) -> bool {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join(FILE);
    std::fs::write(&path, damaged).unwrap();
    match Embedded::open(copy.path()) {
        Err(Error::Corrupt(text)) => {
            assert!(text.contains(&*path.to_string_lossy()) && text.contains("snapshot restore"), "{what}: {text}");
            true
        }
        Err(other) => panic!("{what}: {other:?}"),
        Ok(store) => {
            let found = store.range(Range::prefix("/k/")).await.unwrap();
            assert_eq!(found.kvs, whole, "{what}: opened, and not what it was");
            let from = store.shared.index.read().compacted + 1;
            let watched = watch::start(store.shared.clone(), WatchRequest { start: "/k/".into(), end: "/k0".into(), from, previous: true });
            watched.unwrap().next().await.unwrap().unwrap();
            false
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_nothing_is_lost_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let kvs = filled(dir.path()).await;
    let whole = std::fs::read(dir.path().join(FILE)).unwrap();
    assert!(!refused_or_whole(&whole, &kvs, "nothing").await, "the whole file was refused");
    for bad in [&b"not a database"[..], b"", &[0u8; 8192]] {
        assert!(refused_or_whole(bad, &kvs, "no store").await);
    }
    let mut refused = 0;
    let rounds = rounds(ROUNDS, 300);
    for round in 0..rounds {
        let mut random = Random(round);
        let mut damaged = whole.clone();
        let at = random.below(whole.len() as u64) as usize;
        let what = match round % 3 {
            0 => {
                damaged[at] ^= 1 << random.below(8);
                format!("a bit of byte {at}")
            }
            1 => {
                let end = (at + 4096).min(whole.len());
                damaged[at..end].fill(0);
                format!("a hole at {at}")
            }
            _ => {
                damaged.truncate(at);
                format!("cut at {at}")
            }
        };
        refused += u64::from(refused_or_whole(&damaged, &kvs, &what).await);
    }
    assert!(refused > rounds / 3, "only {refused} of {rounds} were noticed");
}

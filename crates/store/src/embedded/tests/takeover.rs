//! Stores and snapshots of the time when a store was one redb file.

use super::super::{snapshot, takeover};
use super::*;
use redb::{Database, TableDefinition};

const HISTORY: TableDefinition<&[u8], &[u8]> = TableDefinition::new("history");
const LOG_TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const LEASES: TableDefinition<i64, u64> = TableDefinition::new("leases");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const LEASE: LeaseId = 77;

fn row(create: Revision, version: u64, lease: LeaseId, deleted: bool, value: &str) -> Vec<u8> {
    let mut row = create.to_le_bytes().to_vec();
    row.extend(version.to_le_bytes());
    row.extend(lease.to_le_bytes());
    row.push(u8::from(deleted));
    row.extend(value.as_bytes());
    row
}

/// Revisions 2 to 6, compacted at 3: a was written thrice, b deleted, c hangs on a lease.
fn old_store(path: &Path) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut history = transaction.open_table(HISTORY).unwrap();
        let mut log = transaction.open_table(LOG_TABLE).unwrap();
        let mut put = |key: &str, revision: Revision, row: Vec<u8>| {
            let mut name = key.as_bytes().to_vec();
            name.push(0);
            log.insert(revision, name.as_slice()).unwrap();
            name.extend(revision.to_be_bytes());
            history.insert(name.as_slice(), row.as_slice()).unwrap();
        };
        // What a compaction that was cut short has left.
        put("/k/a", 2, row(2, 1, 0, false, "a1"));
        put("/k/b", 3, row(3, 1, 0, false, "b1"));
        put("/k/a", 4, row(2, 2, 0, false, "a2"));
        put("/k/b", 5, row(0, 0, 0, true, ""));
        put("/k/c", 6, row(6, 1, LEASE, false, "c1"));
        transaction.open_table(LEASES).unwrap().insert(LEASE, 3_600_000).unwrap();
        let mut counters = transaction.open_table(COUNTERS).unwrap();
        counters.insert("revision", 6).unwrap();
        counters.insert("compacted", 3).unwrap();
    }
    transaction.commit().unwrap();
}

async fn verify(store: &Embedded) {
    let found = store.range(Range::prefix("/k/")).await.unwrap();
    let seen: Vec<_> = found.kvs.iter().map(|kv| (&*kv.key, &kv.value[..], kv.create_revision, kv.version, kv.lease)).collect();
    assert_eq!(seen, [("/k/a", &b"a2"[..], 2, 2, 0), ("/k/c", &b"c1"[..], 6, 1, LEASE)]);
}

#[tokio::test]
async fn an_old_store_is_taken_over_with_its_history_and_leases() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(takeover::FILE);
    old_store(&file);
    let held = Database::open(&file).unwrap();
    assert!(matches!(Embedded::open(dir.path()), Err(Error::Locked(_))), "taken from under a running program");
    drop(held);
    let store = Embedded::open(dir.path()).unwrap();
    verify(&store).await;
    let status = store.status().await.unwrap();
    assert_eq!((status.revision, status.compacted), (6, 3));
    let then = store.range(Range { revision: 4, ..Range::prefix("/k/") }).await.unwrap();
    assert_eq!(then.kvs.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"a2", b"b1"]);
    let mut watch = store.watch(WatchRequest { start: "/k/".into(), end: "/k0".into(), from: 4, previous: true }).await.unwrap();
    let Some(Ok(crate::WatchBatch::Events { events, revision: 6 })) = watch.next().await else { panic!("no history") };
    assert_eq!(events.len(), 3);
    store.write(put("/k/d".into(), 10)).await.unwrap();
    drop(store);
    // A program of that time finds no store here, and does not begin one.
    assert!(Database::builder().open(&file).is_err() && file.exists());
    assert!(takeover::is_old(&file.with_extension("redb.taken-over")));
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, 3);
    store.lease_revoke(LEASE).await.unwrap();
    store.write(put("/k/e".into(), 10)).await.unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, 3);
}

#[tokio::test]
async fn taking_over_that_was_cut_short_is_done_again_or_finished() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(takeover::FILE);
    old_store(&file);
    std::fs::create_dir(dir.path().join(LOG)).unwrap();
    std::fs::write(dir.path().join(LOG).join("00000001.new"), b"half a base").unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    store.write(put("/k/d".into(), 10)).await.unwrap();
    drop(store);
    // The base was whole, the old file not moved yet: what was written since must not be taken back.
    std::fs::rename(file.with_extension("redb.taken-over"), &file).unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, 3);
}

#[tokio::test]
async fn a_damaged_old_store_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(takeover::FILE);
    old_store(&file);
    let whole = std::fs::read(&file).unwrap();
    let mut refused = [0; 3];
    for round in 0..60 {
        let mut random = Random(round);
        let mut bytes = whole.clone();
        let at = random.below(bytes.len() as u64) as usize;
        match round % 3 {
            0 => bytes[..9].copy_from_slice(b"nonsense!"),
            1 => bytes.truncate(at),
            _ => bytes[at..].iter_mut().take(4096).for_each(|byte| *byte ^= 0x5a),
        }
        let other = tempfile::tempdir().unwrap();
        let damaged = other.path().join(takeover::FILE);
        std::fs::write(&damaged, &bytes).unwrap();
        match Embedded::open(other.path()) {
            Ok(store) => verify(&store).await,
            Err(Error::Corrupt(text)) => {
                assert!(text.contains(takeover::FILE) && text.contains("snapshot restore"), "{text}");
                assert!(damaged.exists());
                refused[(round % 3) as usize] += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    // Bytes that no page in use has do no harm, and what is cut off may be such.
    assert!(refused[0] == 20 && refused[1] > 10 && refused[2] > 0, "{refused:?} of each kind were noticed");
}

#[tokio::test]
async fn an_old_snapshot_is_read_and_restored() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("snapshot");
    old_store(&file);
    let before = std::fs::read(&file).unwrap();
    let summary = snapshot::inspect(&file).unwrap();
    assert_eq!((summary.revision, summary.keys, summary.size_bytes), (6, 2, before.len() as u64));
    // In the place of a store that is as old, too.
    old_store(&dir.path().join(takeover::FILE));
    let restored = snapshot::restore(&file, dir.path()).unwrap();
    assert!(restored.replaced.as_deref().is_some_and(takeover::is_old), "{restored:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let store = Embedded::open(dir.path()).unwrap();
    verify(&store).await;
    assert_eq!(store.revision().await.unwrap(), 6 + snapshot::RESTORED);
}

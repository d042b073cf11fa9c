use super::*;
use crate::{Op, Write, suite};
use bytes::Bytes;
use std::process::{Command as Process, Stdio};

fn put(key: String, size: usize) -> Write {
    Write { key, expected: None, op: Op::Put { value: Bytes::from(vec![b'x'; size]), lease: 0 } }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(Arc::new(Embedded::open(dir.path()).unwrap())).await;
}

#[tokio::test]
async fn a_store_opened_again_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, before) = {
        let store = Embedded::open(dir.path()).unwrap();
        for i in 0..10 {
            store.write(put(format!("/k/{i}"), 10)).await.unwrap();
        }
        store.write(Write { key: "/k/3".into(), expected: None, op: Op::Delete }).await.unwrap();
        let lease = store.lease_grant(Duration::from_secs(3600)).await.unwrap();
        let op = Op::Put { value: Bytes::from_static(b"leased"), lease };
        store.write(Write { key: "/k/l".into(), expected: None, op }).await.unwrap();
        (lease, store.range(Range::prefix("/k/")).await.unwrap())
    };
    let store = Embedded::open(dir.path()).unwrap();
    let after = store.range(Range::prefix("/k/")).await.unwrap();
    assert_eq!((after.kvs, after.revision), (before.kvs, before.revision));
    store.lease_revoke(lease).await.unwrap();
    store.write(put("/k/m".into(), 1)).await.unwrap();
    let left = store.range(Range::prefix("/k/")).await.unwrap();
    assert!(left.kvs.iter().all(|kv| kv.lease == 0) && left.count == 10, "{left:?}");
}

#[tokio::test]
async fn a_second_owner_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Embedded::open(dir.path()).unwrap();
    assert!(matches!(Embedded::open(dir.path()), Err(Error::Locked(_))));
}

#[tokio::test]
async fn a_damaged_file_is_said_and_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Embedded::open(dir.path()).unwrap();
        for i in 0..50 {
            store.write(put(format!("/k/{i}"), 500)).await.unwrap();
        }
    }
    let whole = std::fs::read(dir.path().join("store.redb")).unwrap();
    for damaged in [b"not a database".to_vec(), whole[..whole.len() / 3].to_vec(), Vec::from([0u8; 8192])] {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("store.redb"), damaged).unwrap();
        match Embedded::open(copy.path()) {
            Err(Error::Corrupt(_) | Error::Other(_)) => {}
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("a damaged file was opened"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let flags = nix::mount::MsFlags::empty();
    if nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=6m")).is_err() {
        println!("skipped: only root can mount a small disk");
        return;
    }
    let outcome = async {
        let store = Embedded::open(dir.path()).unwrap();
        store.write(put("/k/first".into(), 100)).await.unwrap();
        let ballast = dir.path().join("ballast");
        let room = nix::sys::statvfs::statvfs(dir.path()).unwrap();
        std::fs::write(&ballast, vec![0u8; (room.blocks_available() * room.fragment_size()) as usize - (64 << 10)]).unwrap();
        let mut refused = None;
        for i in 0..200 {
            if let Err(error) = store.write(put(format!("/k/{i}"), 100 << 10)).await {
                refused = Some(error);
                break;
            }
        }
        assert!(matches!(refused, Some(Error::NoSpace(_))), "{refused:?}");
        std::fs::remove_file(&ballast).unwrap();
        store.write(put("/k/last".into(), 100)).await.unwrap();
        for key in ["/k/first", "/k/last"] {
            let found = store.range(Range { start: key.into(), ..Range::default() }).await.unwrap();
            assert_eq!(found.kvs.len(), 1, "{key}");
        }
    };
    outcome.await;
    nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
}

const CHILD_DIR: &str = "SOCLE_STORE_CRASH_DIR";

/// Not a test of its own: the process that the next one kills.
#[test]
fn crash_child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(Path::new(&dir)).unwrap());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4 {
            let store = store.clone();
            writers.spawn(async move {
                for i in 0u64.. {
                    let result = store.write(put(format!("/k/{writer}/{}", i % 50), 200)).await.unwrap();
                    let WriteResult::Done { revision, .. } = result else { panic!("{result:?}") };
                    println!("ack {writer} {} {revision}", i % 50);
                }
            });
        }
        writers.join_all().await;
    });
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: std::collections::HashMap<String, u64> = std::collections::HashMap::new();
    for round in 0..20u64 {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::crash_child", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let stop_after = 20 + (round * 37) % 190;
        let mut lines = 0;
        for line in output.lines() {
            let line = line.unwrap();
            let mut words = line.split_whitespace().skip_while(|w| *w != "ack").skip(1);
            if let (Some(writer), Some(key), Some(revision)) = (words.next(), words.next(), words.next()) {
                acknowledged.insert(format!("/k/{writer}/{key}"), revision.parse().unwrap());
                lines += 1;
            }
            if lines == stop_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        let found = store.range(Range::prefix("/k/")).await.unwrap();
        let stored: std::collections::HashMap<String, u64> = found.kvs.iter().map(|kv| (kv.key.to_string(), kv.mod_revision)).collect();
        for (key, revision) in &acknowledged {
            let kept = stored.get(key).copied().unwrap_or(0);
            assert!(kept >= *revision, "round {round}: {key} was acknowledged at {revision} and is at {kept}");
        }
        assert!(found.kvs.iter().all(|kv| kv.mod_revision <= found.revision));
    }
}

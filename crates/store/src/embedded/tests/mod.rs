mod crash;
mod damage;
mod disk;
mod past;
mod power;
mod rewrite;
mod snapshots;
mod takeover;

use super::*;
use crate::{KeyValue, Op, Write, suite};
use bytes::Bytes;

/// A number of rounds, or what the environment says instead.
fn rounds(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// Numbers that look random and are the same in every run of a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) % bound.max(1)
    }
}

/// A value that says which write it is of, and shows whether it is whole.
fn marked(key: &str, number: u64, size: usize) -> Bytes {
    let mut value = format!("{key} {number} ").into_bytes();
    let fill = value.iter().fold(number, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b))).to_string();
    value.extend(fill.bytes().cycle().take(size));
    value.into()
}

/// The number of a whole value of `key`.
fn number(kv: &KeyValue) -> u64 {
    let text = std::str::from_utf8(&kv.value).unwrap();
    let mut words = text.splitn(3, ' ');
    assert_eq!(words.next(), Some(&*kv.key), "a value of another key");
    let (number, fill): (u64, &str) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
    assert_eq!(kv.value, marked(&kv.key, number, fill.len()), "a value half written");
    number
}

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
async fn a_full_disk_refuses_writes_keeps_reads_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let flags = nix::mount::MsFlags::empty();
    if nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=6m")).is_err() {
        assert!(std::env::var_os("SOCLE_TEST_ALL").is_none(), "no small disk can be mounted");
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
        let found = store.range(Range { start: "/k/first".into(), ..Range::default() }).await.unwrap();
        assert_eq!(found.kvs.len(), 1, "nothing can be read while the disk is full");
        std::fs::remove_file(&ballast).unwrap();
        store.write(put("/k/last".into(), 100)).await.unwrap();
        for key in ["/k/first", "/k/last"] {
            let found = store.range(Range { start: key.into(), ..Range::default() }).await.unwrap();
            assert_eq!(found.kvs.len(), 1, "{key}");
        }
        // And what was refused is not there when it is opened again.
        let before = store.range(Range::prefix("/k/")).await.unwrap();
        drop(store);
        let after = Embedded::open(dir.path()).unwrap().range(Range::prefix("/k/")).await.unwrap();
        assert_eq!((after.kvs, after.revision), (before.kvs, before.revision));
    };
    outcome.await;
    nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
}

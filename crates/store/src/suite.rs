//! The behaviour of the seam, as checks that every implementation passes. Each check gets a fresh
//! key prefix, so that one running store serves them all.

use crate::{
    Error, KeyValue, LeaseId, Op, Range, Revision, Store, WatchBatch, WatchEvent, WatchRequest, WatchStream, Write, WriteResult, prefix_end,
};
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Nothing here takes long; what does, hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs every check. Panics, as tests do, at the first behaviour that is missing.
pub async fn run(store: Arc<dyn Store>) {
    let check = |name: &'static str| format!("/suite/{name}/");
    a_key_is_created_once(&*store, &check("create")).await;
    a_write_needs_the_revision_it_is_based_on(&*store, &check("cas")).await;
    a_deleted_key_can_be_created_again(&*store, &check("delete")).await;
    every_write_has_the_next_revision(&*store, &check("revisions")).await;
    a_range_is_ordered_limited_and_counted(&*store, &check("range")).await;
    a_range_of_the_past_is_as_it_was(&*store, &check("past")).await;
    a_watch_begins_in_the_past_and_goes_on(&*store, &check("watch")).await;
    a_watch_from_now_sees_only_what_comes(&*store, &check("now")).await;
    a_watch_sees_every_write_of_many_writers_once_and_in_order(store.clone(), &check("many")).await;
    a_watch_says_how_far_it_has_seen(&*store, &check("progress")).await;
    a_lease_takes_its_keys_with_it(&*store, &check("lease")).await;
    a_key_moved_off_its_lease_stays(&*store, &check("moved")).await;
    a_write_with_an_unknown_lease_is_refused(&*store, &check("nolease")).await;
    the_future_is_refused(&*store, &check("future")).await;
    compacted_history_is_refused(&*store, &check("compact")).await;
}

fn put(key: &str, value: &str, expected: Option<Revision>) -> Write {
    Write { key: key.into(), expected, op: Op::Put { value: Bytes::copy_from_slice(value.as_bytes()), lease: 0 } }
}

fn delete(key: &str, expected: Option<Revision>) -> Write {
    Write { key: key.into(), expected, op: Op::Delete }
}

async fn done(store: &dyn Store, write: Write) -> (Revision, Option<KeyValue>) {
    match store.write(write).await {
        Ok(WriteResult::Done { revision, previous }) => (revision, previous),
        other => panic!("expected a write to be done, got {other:?}"),
    }
}

async fn get(store: &dyn Store, key: &str) -> Option<KeyValue> {
    store.range(Range { start: key.into(), ..Range::default() }).await.expect("a read").kvs.pop()
}

fn watch_request(prefix: &str, from: Revision) -> WatchRequest {
    WatchRequest { start: prefix.into(), end: prefix_end(prefix), from, previous: true }
}

/// The next `count` events, with the order of revisions checked on the way.
async fn events(stream: &mut WatchStream, count: usize) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    let mut seen = 0;
    while events.len() < count {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await;
        match next.expect("an event in time").expect("the watch goes on").expect("no error") {
            WatchBatch::Events { events: batch, revision } => {
                assert!(revision > seen, "revisions rise: {revision} after {seen}");
                seen = revision;
                events.extend(batch);
            }
            WatchBatch::Progress(revision) => assert!(revision >= seen, "progress does not go back"),
        }
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}

async fn a_key_is_created_once(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let (revision, previous) = done(store, put(&key, "one", Some(0))).await;
    assert!(previous.is_none());
    match store.write(put(&key, "two", Some(0))).await {
        Ok(WriteResult::Conflict { current: Some(current), .. }) => {
            assert_eq!((&current.value[..], current.mod_revision), (&b"one"[..], revision));
        }
        other => panic!("a second creation: {other:?}"),
    }
    let kv = get(store, &key).await.expect("the key");
    assert_eq!((&*kv.key, &kv.value[..]), (key.as_str(), &b"one"[..]));
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (revision, revision, 1, 0));
}

async fn a_write_needs_the_revision_it_is_based_on(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let (first, _) = done(store, put(&key, "1", Some(0))).await;
    let (second, previous) = done(store, put(&key, "2", Some(first))).await;
    assert_eq!(previous.map(|kv| kv.mod_revision), Some(first));
    for stale in [put(&key, "x", Some(first)), delete(&key, Some(first)), put(&key, "x", Some(second + 1000))] {
        assert!(matches!(store.write(stale).await, Ok(WriteResult::Conflict { current: Some(_), .. })));
    }
    assert!(matches!(store.write(put(&format!("{prefix}b"), "x", Some(first))).await, Ok(WriteResult::Conflict { current: None, .. })));
    let (third, _) = done(store, put(&key, "3", None)).await;
    let kv = get(store, &key).await.expect("the key");
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (first, third, 3));
}

async fn a_deleted_key_can_be_created_again(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let (first, _) = done(store, put(&key, "1", Some(0))).await;
    let (deleted, previous) = done(store, delete(&key, Some(first))).await;
    assert!(deleted > first);
    assert_eq!(previous.map(|kv| kv.value), Some(Bytes::from_static(b"1")));
    assert_eq!(get(store, &key).await, None);
    // Deleting nothing is done, and is no revision.
    let (nothing, previous) = done(store, delete(&key, None)).await;
    assert!(previous.is_none() && nothing == deleted);
    let (again, _) = done(store, put(&key, "2", Some(0))).await;
    let kv = get(store, &key).await.expect("the key");
    assert_eq!((kv.create_revision, kv.version), (again, 1));
}

async fn every_write_has_the_next_revision(store: &dyn Store, prefix: &str) {
    let before = store.revision().await.expect("a revision");
    for i in 0..5 {
        let (revision, _) = done(store, put(&format!("{prefix}{i}"), "x", Some(0))).await;
        assert_eq!(revision, before + 1 + i);
    }
    assert_eq!(store.revision().await.expect("a revision"), before + 5);
}

async fn a_range_is_ordered_limited_and_counted(store: &dyn Store, prefix: &str) {
    for name in ["b", "a", "c/x", "c", "d"] {
        done(store, put(&format!("{prefix}{name}"), name, Some(0))).await;
    }
    let names = |kvs: &[KeyValue]| kvs.iter().map(|kv| kv.key[prefix.len()..].to_string()).collect::<Vec<_>>();
    let all = store.range(Range::prefix(prefix)).await.expect("a range");
    assert_eq!(names(&all.kvs), ["a", "b", "c", "c/x", "d"]);
    assert_eq!((all.more, all.count), (false, 5));
    assert_eq!(all.revision, store.revision().await.expect("a revision"));
    let page = store.range(Range { limit: 2, ..Range::prefix(prefix) }).await.expect("a range");
    assert_eq!((names(&page.kvs), page.more, page.count), (vec!["a".into(), "b".into()], true, 5));
    let start = format!("{}\0", page.kvs[1].key);
    let rest = store.range(Range { start, ..Range::prefix(prefix) }).await.expect("a range");
    assert_eq!(names(&rest.kvs), ["c", "c/x", "d"]);
    let none = store.range(Range::prefix(&format!("{prefix}zz"))).await.expect("a range");
    assert!(none.kvs.is_empty() && none.count == 0 && !none.more);
}

async fn a_range_of_the_past_is_as_it_was(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let (first, _) = done(store, put(&a, "1", Some(0))).await;
    let (second, _) = done(store, put(&b, "1", Some(0))).await;
    done(store, put(&a, "2", None)).await;
    done(store, delete(&b, None)).await;
    let at = async |revision| store.range(Range { revision, ..Range::prefix(prefix) }).await.expect("a range").kvs;
    assert_eq!(at(first).await.len(), 1);
    let then = at(second).await;
    assert_eq!(then.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"1", b"1"]);
    let now = at(0).await;
    assert_eq!(now.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"2"]);
}

async fn a_watch_begins_in_the_past_and_goes_on(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let (first, _) = done(store, put(&key, "1", Some(0))).await;
    done(store, put(&key, "2", None)).await;
    done(store, put("/suite-elsewhere", "x", None)).await;
    let mut stream = store.watch(watch_request(prefix, first)).await.expect("a watch");
    let (gone, _) = done(store, delete(&key, None)).await;
    let seen = events(&mut stream, 3).await;
    match &seen[..] {
        [
            WatchEvent::Put { kv: one, previous: None },
            WatchEvent::Put { kv: two, previous: Some(before) },
            WatchEvent::Delete { revision, previous: Some(last), .. },
        ] => {
            assert_eq!((&one.value[..], &two.value[..], &before.value[..], &last.value[..]), (&b"1"[..], &b"2"[..], &b"1"[..], &b"2"[..]));
            assert_eq!((one.mod_revision, *revision), (first, gone));
        }
        other => panic!("{other:?}"),
    }
}

async fn a_watch_from_now_sees_only_what_comes(store: &dyn Store, prefix: &str) {
    done(store, put(&format!("{prefix}a"), "before", Some(0))).await;
    let mut request = watch_request(prefix, 0);
    request.previous = false;
    let mut stream = store.watch(request).await.expect("a watch");
    let (revision, _) = done(store, put(&format!("{prefix}a"), "after", None)).await;
    match &events(&mut stream, 1).await[..] {
        [WatchEvent::Put { kv, previous: None }] => assert_eq!((kv.mod_revision, &kv.value[..]), (revision, &b"after"[..])),
        other => panic!("{other:?}"),
    }
}

async fn a_watch_sees_every_write_of_many_writers_once_and_in_order(store: Arc<dyn Store>, prefix: &str) {
    const WRITERS: usize = 8;
    const WRITES: usize = 50;
    let from = store.revision().await.expect("a revision") + 1;
    let mut early = store.watch(watch_request(prefix, from)).await.expect("a watch");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, key) = (store.clone(), format!("{prefix}{writer}"));
        writers.spawn(async move {
            let mut revisions = Vec::new();
            for i in 0..WRITES {
                revisions.push(done(&*store, put(&key, &i.to_string(), None)).await.0);
            }
            revisions
        });
    }
    let mut written: Vec<Revision> = writers.join_all().await.concat();
    written.sort_unstable();
    let mut late = store.watch(watch_request(prefix, from)).await.expect("a watch");
    for stream in [&mut early, &mut late] {
        let seen = events(stream, WRITERS * WRITES).await;
        let revisions: Vec<Revision> = seen.iter().map(|e| if let WatchEvent::Put { kv, .. } = e { kv.mod_revision } else { 0 }).collect();
        assert_eq!(revisions, written);
    }
}

async fn a_watch_says_how_far_it_has_seen(store: &dyn Store, prefix: &str) {
    let mut stream = store.watch(watch_request(prefix, 0)).await.expect("a watch");
    let (elsewhere, _) = done(store, put("/suite-elsewhere", "y", None)).await;
    loop {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await;
        match next.expect("progress in time").expect("the watch goes on").expect("no error") {
            WatchBatch::Progress(revision) if revision >= elsewhere => return,
            WatchBatch::Progress(_) => {}
            WatchBatch::Events { events, .. } => panic!("{events:?}"),
        }
    }
}

async fn leased(store: &dyn Store, key: &str, lease: LeaseId) {
    let op = Op::Put { value: Bytes::from_static(b"x"), lease };
    done(store, Write { key: key.into(), expected: None, op }).await;
}

async fn a_lease_takes_its_keys_with_it(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let revoked = store.lease_grant(Duration::from_secs(60)).await.expect("a lease");
    let expiring = store.lease_grant(Duration::from_secs(1)).await.expect("a lease");
    leased(store, &a, revoked).await;
    leased(store, &b, expiring).await;
    assert_eq!(get(store, &a).await.map(|kv| kv.lease), Some(revoked));
    let mut stream = store.watch(watch_request(prefix, 0)).await.expect("a watch");
    store.lease_keep_alive(revoked).await.expect("kept alive");
    store.lease_revoke(revoked).await.expect("revoked");
    let seen = events(&mut stream, 2).await;
    assert!(seen.iter().all(|e| matches!(e, WatchEvent::Delete { .. })), "{seen:?}");
    assert_eq!((get(store, &a).await, get(store, &b).await), (None, None));
    assert!(matches!(store.lease_keep_alive(revoked).await, Err(Error::LeaseNotFound(_))));
}

async fn a_key_moved_off_its_lease_stays(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let lease = store.lease_grant(Duration::from_secs(60)).await.expect("a lease");
    leased(store, &key, lease).await;
    leased(store, &format!("{prefix}b"), lease).await;
    done(store, put(&key, "free", None)).await;
    let mut stream = store.watch(watch_request(prefix, 0)).await.expect("a watch");
    store.lease_revoke(lease).await.expect("revoked");
    events(&mut stream, 1).await;
    assert_eq!(get(store, &key).await.map(|kv| kv.value), Some(Bytes::from_static(b"free")));
}

async fn a_write_with_an_unknown_lease_is_refused(store: &dyn Store, prefix: &str) {
    let op = Op::Put { value: Bytes::new(), lease: 424_242 };
    let written = store.write(Write { key: format!("{prefix}a"), expected: None, op }).await;
    assert!(matches!(written, Err(Error::LeaseNotFound(_))), "{written:?}");
}

async fn the_future_is_refused(store: &dyn Store, prefix: &str) {
    let revision = store.revision().await.expect("a revision") + 1_000_000;
    let read = store.range(Range { revision, ..Range::prefix(prefix) }).await;
    assert!(matches!(read, Err(Error::FutureRevision(_))), "{read:?}");
}

async fn compacted_history_is_refused(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let (first, _) = done(store, put(&a, "1", Some(0))).await;
    done(store, put(&b, "1", Some(0))).await;
    done(store, put(&a, "2", None)).await;
    let (last, _) = done(store, delete(&b, None)).await;
    store.compact(last).await.expect("compacted");
    let read = store.range(Range { revision: first, ..Range::prefix(prefix) }).await;
    assert!(matches!(read, Err(Error::Compacted { .. })), "{read:?}");
    let watched = match store.watch(watch_request(prefix, first)).await {
        Ok(mut stream) => stream.next().await.expect("an answer").map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(watched, Err(Error::Compacted { .. })), "{watched:?}");
    let now = store.range(Range { revision: last, ..Range::prefix(prefix) }).await.expect("a range");
    assert_eq!(now.kvs.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"2"]);
    let mut stream = store.watch(watch_request(prefix, last + 1)).await.expect("a watch");
    done(store, put(&a, "3", None)).await;
    events(&mut stream, 1).await;
    assert!(store.compact(last).await.is_err(), "compacted twice");
}

//! Files that were truncated, altered, or lost.

use super::*;
use crate::WatchBatch;

/// How many damaged copies are opened.
const ROUNDS: &str = "SOCLE_STORE_DAMAGE_ROUNDS";

/// A store with a base and two files of the log after it, closed as it should be. Answers what it holds.
async fn filled(dir: &Path) -> Vec<KeyValue> {
    let store = Embedded::open_bounded(dir, 64 << 10).unwrap();
    for i in 0..400 {
        store.write(put(format!("/k/{}", i % 60), 500 + (i * 13) % 2000)).await.unwrap();
    }
    store.compact(store.revision().await.unwrap() - 5).await.unwrap();
    store.write(put("/k/last".into(), 10)).await.unwrap();
    let kvs = store.range(Range::prefix("/k/")).await.unwrap().kvs;
    drop(store);
    // A moderate one leaves the past where it is.
    let store = Embedded::open(dir).unwrap();
    store.write(put("/k/last".into(), 20)).await.unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, kvs.len());
    store.range(Range::prefix("/k/")).await.unwrap().kvs
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join(LOG)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join(LOG)).unwrap();
    for file in files(from) {
        std::fs::copy(&file, to.join(LOG).join(file.file_name().unwrap())).unwrap();
    }
}

/// A damaged store is either refused in plain words, or the damage was where nothing is kept.
async fn refused_or_whole(dir: &Path, whole: &[KeyValue], what: &str) -> bool {
    match Embedded::open(dir) {
        Err(Error::Corrupt(text)) => {
            assert!(text.contains(&*dir.to_string_lossy()) && text.contains("snapshot restore"), "{what}: {text}");
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
    let names = files(dir.path());
    assert!(names.iter().any(|n| n.extension().is_some_and(|e| e == "base")) && names.len() > 2, "{names:?}");
    let (mut refused, mut of_data) = (0, 0);
    let rounds = rounds(ROUNDS, 300);
    for round in 0..rounds {
        let mut random = Random(round);
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        assert!(round > 0 || !refused_or_whole(copied.path(), &kvs, "nothing").await, "the whole store was refused");
        let chosen = files(copied.path()).swap_remove(random.below(names.len() as u64) as usize);
        let mut bytes = std::fs::read(&chosen).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        let name = chosen.file_name().unwrap().to_string_lossy().into_owned();
        let what = match round % 5 {
            0 => {
                bytes[at] ^= 1 << random.below(8);
                format!("a bit of byte {at} of {name}")
            }
            1 => {
                let end = (at + 4096).min(bytes.len());
                bytes[at..end].fill(0);
                format!("a hole at {at} of {name}")
            }
            2 => {
                bytes.truncate(at);
                format!("{name} cut at {at}")
            }
            3 => {
                bytes.splice(at..at, *b"strange");
                format!("seven bytes more at {at} of {name}")
            }
            _ => {
                bytes = [&b"not a store"[..], b"", &[0u8; 8192]][random.below(3) as usize].to_vec();
                format!("something else as {name}")
            }
        };
        std::fs::write(&chosen, bytes).unwrap();
        of_data += u64::from(name != "mark");
        refused += u64::from(refused_or_whole(copied.path(), &kvs, &what).await);
    }
    assert!(refused > of_data / 2, "only {refused} of {of_data} were noticed");
}

#[tokio::test]
async fn a_lost_file_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let kvs = filled(dir.path()).await;
    for lost in files(dir.path()) {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let name = lost.file_name().unwrap();
        std::fs::remove_file(copied.path().join(LOG).join(name)).unwrap();
        let refused = refused_or_whole(copied.path(), &kvs, &format!("without {name:?}")).await;
        assert_eq!(refused, name != "mark", "without {name:?}");
    }
    let emptied = tempfile::tempdir().unwrap();
    copy(dir.path(), emptied.path());
    for lost in files(emptied.path()).iter().filter(|file| file.extension().is_some()) {
        std::fs::remove_file(lost).unwrap();
    }
    assert!(refused_or_whole(emptied.path(), &kvs, "without all").await, "an empty store took the place of one that was lost");
}

/// The end of a log that a power cut has torn: what was synced stays, what was not is cut off, and both are told apart by the mark.
#[tokio::test]
async fn a_torn_end_is_cut_off_and_a_lost_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let mut ends = Vec::new();
    for i in 0..3 {
        store.write(put(format!("/k/{i}"), 300)).await.unwrap();
        // Where a record begins, and so within its frame.
        ends.push(store.shared.index.read().newest(&format!("/k/{i}")).unwrap().1.place.at as usize);
    }
    drop(store);
    let (log, mark) = (dir.path().join(LOG).join("00000001.log"), dir.path().join(LOG).join("mark"));
    let whole = std::fs::read(&log).unwrap();
    let mut torn = whole.clone();
    torn[ends[2] + 100] ^= 1;
    std::fs::write(&log, &torn).unwrap();
    let Err(Error::Corrupt(text)) = Embedded::open(dir.path()) else { panic!("a commit that was synced is lost") };
    assert!(text.contains("1 more commits had been synced") && text.contains("00000001.log"), "{text}");
    // As it would be had the process not come so far as to know that the last was synced.
    std::fs::remove_file(&mark).unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, 2);
    store.write(put("/k/after".into(), 10)).await.unwrap();
    drop(store);
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.range(Range::prefix("/k/")).await.unwrap().count, 3);
    drop(store);
    // One in the middle is never taken for a torn one.
    let mut damaged = whole;
    damaged[ends[1] + 100] ^= 1;
    std::fs::write(&log, &damaged).unwrap();
    std::fs::remove_file(&mark).unwrap();
    let Err(Error::Corrupt(text)) = Embedded::open(dir.path()) else { panic!("damage was taken for the end") };
    assert!(text.contains("00000001.log") && text.contains("at byte ") && text.contains("more follows"), "{text}");
}

#[tokio::test]
async fn a_value_that_rots_while_the_store_is_open_is_that_reads_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    for key in ["/k/a", "/k/b"] {
        store.write(put(key.into(), 300)).await.unwrap();
    }
    let place = store.shared.index.read().newest("/k/a").unwrap().1.place;
    let log = dir.path().join(LOG).join("00000001.log");
    let file = crate::embedded::disk::open_file(&log).unwrap();
    let mut byte = [0];
    file.read_at(place.at + 200, &mut byte).unwrap();
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(&log).unwrap().write_all_at(&[byte[0] ^ 4], place.at + 200).unwrap();
    let get = async |key: &str| store.range(Range { start: key.into(), ..Range::default() }).await;
    let Err(Error::Corrupt(text)) = get("/k/a").await else { panic!("a value that is not what was written was served") };
    assert!(text.contains("00000001.log") && text.contains("/k/a"), "{text}");
    assert_eq!(get("/k/b").await.unwrap().kvs.len(), 1);
    let mut all = store.watch(WatchRequest { start: "/k/b".into(), end: String::new(), from: 0, previous: true }).await.unwrap();
    store.write(put("/k/b".into(), 10)).await.unwrap();
    assert!(matches!(all.next().await, Some(Ok(WatchBatch::Events { .. }))));
}

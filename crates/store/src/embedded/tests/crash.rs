//! Processes that write are killed at random moments.

use super::*;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const DIR: &str = "SOCLE_STORE_CRASH_DIR";
const FROM: &str = "SOCLE_STORE_CRASH_FROM";
/// How often the writer is killed; thousands for a night.
const KILLS: &str = "SOCLE_STORE_KILLS";
const WRITERS: u64 = 4;
const KEYS: u64 = 40;

/// Not a test of its own: the process that the next one kills. It writes, deletes, compacts and takes leases.
#[test]
fn crash_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let from = rounds(FROM, 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open_bounded(Path::new(&dir), 64 << 10).unwrap());
        println!("ready");
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.spawn(async move {
                for number in from.. {
                    let key = key(writer, number);
                    let size = 50 + (number * 7919 % 3000) as usize;
                    let op = if deletes(number) { Op::Delete } else { Op::Put { value: marked(&key, number, size), lease: 0 } };
                    let result = store.write(Write { key, expected: None, op }).await.unwrap();
                    let WriteResult::Done { revision, .. } = result else { panic!("{result:?}") };
                    println!("ack {writer} {number} {revision} .");
                    if number % 97 == 96 {
                        // Two may ask for the same; the second is told so.
                        let _ = store.compact(revision - 1).await;
                    }
                }
            });
        }
        writers.join_all().await;
    });
}

fn key(writer: u64, number: u64) -> String {
    format!("/k/{writer}/{}", number % KEYS)
}

fn deletes(number: u64) -> bool {
    number % 11 == 10
}

/// What a key must hold: the number and the revision of its last write. A deletion is a write.
type Known = HashMap<String, (u64, u64)>;

/// Lets a writer live for a moment. Answers which write each writer had not been told of.
fn one_life(dir: &Path, round: u64, from: u64, known: &mut Known) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::crash::crash_child", "--nocapture"])
        .env(DIR, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 && !line.contains("ready") {
        line.clear();
    }
    assert!(line.contains("ready"), "round {round}: the store was not opened");
    // Spread over 0 to 40 ms, different in every round.
    let moment = Duration::from_micros((round.wrapping_mul(6_364_136_223_846_793_005) >> 33) % 40_000);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let mut under_way = vec![from; WRITERS as usize];
    for line in output.lines() {
        // The last line may be cut short.
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let ["ack", writer, number, revision, "."] = words[..] else { continue };
        let (writer, number): (u64, u64) = (writer.parse().unwrap(), number.parse().unwrap());
        known.insert(key(writer, number), (number, revision.parse().unwrap()));
        under_way[writer as usize] = number + 1;
    }
    killer.join().unwrap();
    under_way
}

/// Every key holds its last acknowledged write, or the one that was under way; then that is what is known.
async fn verify(store: &Embedded, known: &mut Known, under_way: &[u64]) {
    let found = store.range(Range::prefix("/k/")).await.unwrap();
    let stored: HashMap<String, &KeyValue> = found.kvs.iter().map(|kv| (kv.key.to_string(), kv)).collect();
    for writer in 0..WRITERS {
        let late = under_way[writer as usize];
        for key in (0..KEYS).map(|n| key(writer, n)) {
            let (last, revision) = known.get(&key).copied().unwrap_or_default();
            match stored.get(&key) {
                Some(kv) if kv.mod_revision == revision => assert!(number(kv) == last && !deletes(last), "{key}: not write {last}"),
                Some(kv) => {
                    assert!(number(kv) == late && kv.mod_revision > revision, "{key}: {} in the place of {last}", number(kv));
                    known.insert(key, (late, kv.mod_revision));
                }
                None if revision == 0 || deletes(last) => {}
                None => {
                    assert!(deletes(late) && key == self::key(writer, late), "{key}: write {last} is gone");
                    known.insert(key, (late, found.revision));
                }
            }
            assert!(found.revision >= revision);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_being_killed_at_random() {
    let dir = tempfile::tempdir().unwrap();
    let (mut known, mut from) = (Known::new(), 0);
    for round in 0..rounds(KILLS, 100) {
        let under_way = one_life(dir.path(), round, from, &mut known);
        from = under_way.iter().max().unwrap() + 1;
        verify(&Embedded::open(dir.path()).unwrap(), &mut known, &under_way).await;
    }
    assert!(known.len() > 100, "the writers wrote next to nothing");
}

//! What a durable write of the embedded store costs: `cargo run --release -p store --example writes [DIR] [WRITES] [AT ONCE]`.
//!
//! Creates, updates and deletes values of the size of a small pod, so many at once, and reports the CPU time of the
//! whole process, its tasks included, beside the time that passed. DIR should lie on the disk that is meant.

use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Embedded, Op, Range, Revision, Store, Write, WriteResult};

const VALUE: usize = 1331;
/// Linux counts in these, whatever its own tick is.
const TICKS_A_SECOND: f64 = 100.0;

/// The CPU time that this process has used.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(ticks / TICKS_A_SECOND)
}

fn key(number: usize) -> String {
    format!("/registry/pods/default-{}/a-pod-of-a-deployment-{number:06}", number % 7)
}

fn value(number: usize) -> Bytes {
    format!("{{\"number\":{number}}}").into_bytes().into_iter().cycle().take(VALUE).collect::<Vec<_>>().into()
}

type Make = fn(usize, Revision) -> Write;

/// Each number once, `at_once` under way at any time. Answers the revisions.
async fn each(store: &Arc<Embedded>, what: &str, at_once: usize, before: Vec<Revision>, make: Make) -> Vec<Revision> {
    let (began, used) = (Instant::now(), cpu());
    let (writes, before) = (before.len(), Arc::new(before));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..at_once {
        let (store, before) = (store.clone(), before.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            for number in (task..before.len()).step_by(at_once) {
                match store.write(make(number, before[number])).await {
                    Ok(WriteResult::Done { revision, .. }) => done.push((number, revision)),
                    other => panic!("write {number}: {other:?}"),
                }
            }
            done
        });
    }
    let mut revisions = vec![0; writes];
    for (number, revision) in tasks.join_all().await.concat() {
        revisions[number] = revision;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / writes as f64;
    println!("{what:8} {:6.1} us CPU {:7.1} us passed, each of {writes}", each(cpu() - used), each(began.elapsed()));
    revisions
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map_or_else(|| std::env::temp_dir().join("store-writes"), PathBuf::from);
    let mut number = |otherwise| arguments.next().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (writes, at_once) = (number(20_000), number(16));
    let store = Arc::new(Embedded::open(&dir).expect("opening the store"));
    let made = each(&store, "create", at_once, vec![0; writes], |n, _| Write {
        key: key(n),
        expected: Some(0),
        op: Op::Put { value: value(n), lease: 0 },
    })
    .await;
    let changed = each(&store, "update", at_once, made, |n, at| Write {
        key: key(n),
        expected: Some(at),
        op: Op::Put { value: value(n + 1), lease: 0 },
    })
    .await;
    let (began, used) = (Instant::now(), cpu());
    let listed = store.range(Range::prefix("/registry/")).await.expect("a list").count;
    println!(
        "{:8} {:6.1} us CPU {:7.1} us passed, {listed} keys",
        "list",
        (cpu() - used).as_secs_f64() * 1e6,
        began.elapsed().as_secs_f64() * 1e6
    );
    drop(store);
    let (began, used) = (Instant::now(), cpu());
    let store = Arc::new(Embedded::open(&dir).expect("opening the store again"));
    println!("{:8} {:6.1} ms CPU {:7.1} ms passed", "open", (cpu() - used).as_secs_f64() * 1e3, began.elapsed().as_secs_f64() * 1e3);
    each(&store, "delete", at_once, changed, |n, at| Write { key: key(n), expected: Some(at), op: Op::Delete }).await;
    println!("{} bytes on the disk", store.status().await.expect("a status").size_bytes);
}

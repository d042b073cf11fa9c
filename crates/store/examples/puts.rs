//! What etcd alone takes for what a server has stored in it: writes again, elsewhere, the bytes of what is under a
//! prefix, and tells how long each write took. Beside the creates that stored them, it says what the server adds:
//! `cargo run --release -p store --example puts http://127.0.0.1:2379 /registry/pods/ 16`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use store::{Etcd, EtcdConfig, Op, Range, Store, Write};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, prefix, writers] = &arguments[..] else { return Err("which endpoint, which prefix, how many writers?".into()) };
    let config = EtcdConfig { endpoints: vec![endpoint.clone()], ..EtcdConfig::default() };
    let store = Arc::new(Etcd::connect(&config).await?);
    let values: Arc<Vec<_>> = Arc::new(store.range(Range::prefix(prefix)).await?.kvs.into_iter().map(|kv| kv.value).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let writers = (0..writers.parse()?).map(|_| {
        let (store, values, next) = (store.clone(), values.clone(), next.clone());
        tokio::spawn(async move {
            let mut took: Vec<Duration> = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(value) = values.get(i).cloned() else { return Ok::<_, store::Error>(took) };
                let began = Instant::now();
                store.write(Write { key: format!("/puts/{i}"), expected: None, op: Op::Put { value, lease: 0 } }).await?;
                took.push(began.elapsed());
            }
        })
    });
    let mut took = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        took.extend(writer.await??);
    }
    let whole = began.elapsed();
    took.sort();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    println!("{} puts in {whole:.1?}: p50 {:.2?}, p99 {:.2?}", took.len(), at(50), at(99));
    Ok(())
}

//! The seam over a real etcd, started for the tests on loopback.

mod cluster;
mod faults;
mod tls;

use cluster::Cluster;
use futures::StreamExt;
use std::sync::Arc;
use store::{Error, Etcd, EtcdConfig, Op, Range, Store, Write, suite};
use tls::Tls;

fn put(key: &str, size: usize) -> Write {
    Write { key: key.into(), expected: None, op: Op::Put { value: vec![b'x'; size].into(), lease: 0 } }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_etcd_of_three_members_passes_the_suite() {
    let Some(cluster) = Cluster::start(3) else { return };
    suite::run(Arc::new(cluster.connect_with(&cluster.config()).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_reached_over_tls_with_a_client_certificate_only() {
    let tls = Tls::new();
    let config = EtcdConfig {
        ca: Some(tls.ca.clone()),
        certificate: Some(tls.certificate.clone()),
        key: Some(tls.key.clone()),
        ..EtcdConfig::default()
    };
    let Some(cluster) = Cluster::start_with(1, "https", tls.arguments()) else { return };
    let config = EtcdConfig { endpoints: cluster.config().endpoints, ..config };
    let store = cluster.connect_with(&config).await;
    store.write(put("/k/a", 10)).await.unwrap();
    let stranger = EtcdConfig { certificate: None, key: None, ..config };
    assert!(matches!(Etcd::connect(&stranger).await, Err(Error::Unavailable(_) | Error::Timeout(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_etcd_is_what_its_own_tools_restore() {
    let Some(cluster) = Cluster::start(1) else { return };
    let store = cluster.connect_with(&cluster.config()).await;
    store.write(put("/k/a", 10)).await.unwrap();
    let mut bytes = Vec::new();
    let mut stream = store.snapshot().await.unwrap();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part.unwrap());
    }
    // The file, and its SHA-256 behind it, which is how the tools know a whole one.
    assert_eq!((bytes.len() % 512, &bytes[16..20]), (32, &0xED0C_DAED_u32.to_le_bytes()[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragmented_etcd_is_defragmented_one_member_at_a_time_and_serves_meanwhile() {
    let Some(cluster) = Cluster::start(3) else { return };
    let config = EtcdConfig { defragment_above: 4 << 20, ..cluster.config() };
    let store = Arc::new(cluster.connect_with(&config).await);
    assert_eq!(store.defragment().await.unwrap(), 0);
    for _ in 0..24 {
        futures::future::try_join_all((0..10).map(|_| store.write(put("/k/a", 100 << 10)))).await.unwrap();
    }
    store.compact(store.revision().await.unwrap()).await.unwrap();
    let before = store.status().await.unwrap().size_bytes;
    let user = {
        let store = store.clone();
        tokio::spawn(async move {
            for i in 0..200 {
                store.write(Write { expected: Some(0), ..put(&format!("/u/{i}"), 10) }).await.unwrap();
            }
        })
    };
    // Two servers ask at once; one of them does it.
    let second = Etcd::connect(&config).await.unwrap();
    let mut done = 0;
    for _ in 0..100 {
        let (one, two) = tokio::join!(store.defragment(), second.defragment());
        done += one.unwrap() + two.unwrap();
        if done > 0 {
            break;
        }
        // etcd frees what was compacted some time after it has said so.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    user.await.unwrap();
    assert_eq!(done, 3);
    assert!(store.status().await.unwrap().size_bytes < before / 2);
    assert_eq!(store.range(Range::prefix("/u/")).await.unwrap().count, 200);
}

//! What an idle watch costs, measured rather than asserted: `cargo test --test requests -- --ignored --nocapture idle`.

use crate::support::MAPS;
use crate::tls::*;
use apiserver::{Operations, listener::Limits};
use http_body_util::BodyExt;

const WATCHES: usize = 10_000;
const A_CONNECTION: usize = 100;

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Server and clients share the process, so the figure is an upper bound of the server's part.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn ten_thousand_idle_watches() {
    let (s, root) = listen(Operations::default(), Limits::default()).await;
    let before = resident();
    let mut held = Vec::new();
    for _ in 0..WATCHES / A_CONNECTION {
        let (mut client, running) = s.http2(&root).await;
        for _ in 0..A_CONNECTION {
            let answer = client.send_request(request("GET", &format!("{MAPS}?watch=1&allowWatchBookmarks=true"), "")).await.unwrap();
            assert_eq!(answer.status(), 200);
            held.push(answer.into_body());
        }
        std::mem::forget((client, running));
    }
    let each = (resident() - before) as f64 / WATCHES as f64;
    println!("{WATCHES} idle watches over HTTP/2, {A_CONNECTION} a connection: {each:.1} kB each, both ends");
    // All of them still work.
    s.server.map("a").await;
    for body in &mut held {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(60), body.frame()).await.expect("an event");
        assert!(frame.unwrap().unwrap().into_data().unwrap().starts_with(b"{\"type\":\"ADDED\""));
    }
}

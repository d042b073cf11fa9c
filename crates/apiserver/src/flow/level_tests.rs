use super::fair::Shape;
use super::level::{Flow, Level, Rejected, Response, Told};
use super::share::Limits;
use crate::features::Features;
use crate::metrics::{FlowSeries, Metrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn level(seats: u32, response: Response) -> (Arc<Level>, Arc<FlowSeries>) {
    let level = Arc::new(Level::new("test"));
    level.configure(false, response, Limits { nominal: seats, lower: seats, upper: seats });
    (level, Arc::new(Metrics::new(&Features::default()).flow.of("schema", "test")))
}

fn flow(hash: u64) -> Flow {
    Flow { hash, told: Told { schema: "schema".into(), ..Told::default() } }
}

fn queue(length: usize) -> Response {
    Response::Queue(Shape { queues: 8, hand: 2, length })
}

#[tokio::test]
async fn a_level_that_rejects_does_so_once_it_is_full() {
    let (level, series) = level(2, Response::Reject);
    let first = level.admit(&series, 1, false, || flow(0), LONG).await.unwrap();
    let _second = level.admit(&series, 1, false, || flow(0), LONG).await.unwrap();
    assert_eq!(level.admit(&series, 1, false, || flow(0), LONG).await.err(), Some(Rejected("concurrency-limit")));
    drop(first);
    assert!(level.admit(&series, 1, false, || flow(0), LONG).await.is_ok());
}

#[tokio::test]
async fn waiting_ends_with_a_seat_with_patience_or_with_a_full_queue() {
    let (level, series) = level(1, queue(1));
    let held = level.admit(&series, 1, false, || flow(0), LONG).await.unwrap();
    assert_eq!(level.admit(&series, 1, false, || flow(0), Duration::from_millis(5)).await.err(), Some(Rejected("time-out")));
    // Who has given up is out of the queues; they have room for one each.
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let (level, series) = (level.clone(), series.clone());
            tokio::spawn(async move { level.admit(&series, 1, false, || flow(0), LONG).await.is_ok() })
        })
        .collect();
    while level.usage() != (1, 2) {
        tokio::task::yield_now().await;
    }
    assert_eq!(level.admit(&series, 1, false, || flow(0), LONG).await.err(), Some(Rejected("queue-full")));
    let told: Vec<_> = level.waiting().into_iter().map(|w| (w.told.schema, w.seats)).collect();
    assert_eq!(told, [("schema".to_string(), 1), ("schema".to_string(), 1)]);
    drop(held);
    for waiter in waiters {
        assert!(waiter.await.unwrap());
    }
    assert_eq!(level.usage(), (0, 0));
}

#[tokio::test]
async fn a_wide_request_runs_alone_on_a_narrow_level() {
    let (level, series) = level(3, queue(5));
    let wide = level.admit(&series, 10, false, || flow(0), LONG).await.unwrap();
    assert_eq!(level.usage(), (10, 0));
    drop(wide);
    assert_eq!(level.take_peak(), 10);
    assert_eq!(level.take_peak(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn seats_are_neither_lost_nor_given_twice_under_contention() {
    let (level, series) = level(3, queue(1000));
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let tasks: Vec<_> = (0..400_u64)
        .map(|n| {
            let (level, series, running, most) = (level.clone(), series.clone(), running.clone(), most.clone());
            tokio::spawn(async move {
                // Some lose patience, some are dropped while they wait.
                let patience = if n % 7 == 0 { Duration::from_micros(300) } else { LONG };
                let admitted = level.admit(&series, 1, false, || flow(n % 5), patience);
                let permit = if n % 11 == 0 {
                    tokio::time::timeout(Duration::from_micros(200), admitted).await.ok().and_then(Result::ok)
                } else {
                    admitted.await.ok()
                };
                if permit.is_some() {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(LONG, task).await.expect("nobody waits for ever").unwrap();
    }
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(level.usage(), (0, 0));
}

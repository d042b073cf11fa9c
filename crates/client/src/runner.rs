//! Runs a reconcile loop over a queue. What every controller has in common ends here.

use crate::Queue;
use futures::FutureExt;
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Reconciles queued keys, `workers` at once, until `stop`. `Ok(Some(d))` looks again after `d`;
/// an error is logged here, once, and retried with the key's back-off. A panic is an error like
/// any other: it must not take the other loops of the process with it.
pub async fn run<T, F, Fut, E>(name: &'static str, queue: Queue<T>, workers: usize, stop: CancellationToken, reconcile: F)
where
    T: Eq + Hash + Clone + Display + Send + Sync + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<Duration>, E>> + Send,
    E: Display + Send,
{
    queue.name(name);
    let reconcile = Arc::new(reconcile);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers.max(1) {
        let (queue, stop, reconcile) = (queue.clone(), stop.clone(), reconcile.clone());
        tasks.spawn(async move {
            while let Some(key) = stop.run_until_cancelled(queue.next()).await {
                match AssertUnwindSafe(reconcile(key.clone())).catch_unwind().await {
                    Ok(Ok(again)) => {
                        queue.forget(&key);
                        if let Some(delay) = again {
                            queue.add_after(key.clone(), delay);
                        }
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(controller = name, %key, %error, "reconcile failed, will retry");
                        queue.retry(key.clone());
                    }
                    Err(_) => {
                        tracing::error!(controller = name, %key, "reconcile panicked, will retry");
                        queue.retry(key.clone());
                    }
                }
                queue.done(&key);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

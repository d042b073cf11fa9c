//! The reconcile loops, a module each. A loop knows the API server only as any client does, keeps no
//! state that its next run could not rebuild, and may be killed between any two of its requests.

mod context;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod expectations;
mod garbage;
mod job;
mod namespace;
mod node_lifecycle;
mod owned;
mod pod_gc;
mod pods;
mod quota;
mod replicas;
mod revision;
mod serviceaccount;
mod statefulset;
mod tolerations;
mod volumes;

pub use context::Context;

use futures::future::join_all;
use std::future::Future;
use std::pin::Pin;

type Loop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs every loop until the context's `stop`.
pub async fn run(context: Context) {
    let all: Vec<Loop> = vec![
        Box::pin(replicas::run_sets(context.clone())),
        Box::pin(replicas::run_controllers(context.clone())),
        Box::pin(deployment::run(context.clone())),
        Box::pin(quota::run(context.clone())),
        Box::pin(cronjob::run(context.clone())),
        Box::pin(job::run(context.clone())),
        Box::pin(disruption::run(context.clone())),
        Box::pin(pod_gc::run(context.clone())),
        Box::pin(daemonset::run(context.clone())),
        Box::pin(node_lifecycle::run(context.clone())),
        Box::pin(statefulset::run(context.clone())),
        Box::pin(garbage::run(context.clone())),
        Box::pin(endpoints::run(context.clone())),
        Box::pin(endpointslice::run(context.clone())),
        Box::pin(namespace::run(context.clone())),
        Box::pin(serviceaccount::run(context.clone())),
        Box::pin(volumes::run(context.clone())),
    ];
    // Each in a task of its own, so that they run side by side.
    let tasks = all.into_iter().map(tokio::spawn);
    for ended in join_all(tasks).await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller ended");
        }
    }
}

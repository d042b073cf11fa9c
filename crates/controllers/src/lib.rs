//! The reconcile loops, a module each. A loop knows the API server only as any client does, keeps no
//! state that its next run could not rebuild, and may be killed between any two of its requests.

mod bootstrap_tokens;
pub mod certificates;
mod clusterrole_aggregation;
mod context;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod endpointslicemirroring;
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
mod selection;
mod serviceaccount;
mod serviceaccount_tokens;
mod statefulset;
mod tolerations;
mod volumes;

pub use context::{Context, SignToken};
pub use selection::{Selection, UnknownController};

use futures::future::join_all;
use std::future::Future;
use std::pin::Pin;

type Loop = Pin<Box<dyn Future<Output = ()> + Send>>;
type Start = fn(Context) -> Loop;

/// Every loop under upstream's name for it.
const ALL: &[(&str, Start)] = &[
    ("replicaset-controller", |context| Box::pin(replicas::run_sets(context))),
    ("replicationcontroller-controller", |context| Box::pin(replicas::run_controllers(context))),
    ("deployment-controller", |context| Box::pin(deployment::run(context))),
    ("resourcequota-controller", |context| Box::pin(quota::run(context))),
    ("cronjob-controller", |context| Box::pin(cronjob::run(context))),
    ("job-controller", |context| Box::pin(job::run(context))),
    ("disruption-controller", |context| Box::pin(disruption::run(context))),
    ("pod-garbage-collector-controller", |context| Box::pin(pod_gc::run(context))),
    ("daemonset-controller", |context| Box::pin(daemonset::run(context))),
    ("node-lifecycle-controller", |context| Box::pin(node_lifecycle::run(context))),
    ("statefulset-controller", |context| Box::pin(statefulset::run(context))),
    ("garbage-collector-controller", |context| Box::pin(garbage::run(context))),
    ("endpoints-controller", |context| Box::pin(endpoints::run(context))),
    ("endpointslice-mirroring-controller", |context| Box::pin(endpointslicemirroring::run(context))),
    ("endpointslice-controller", |context| Box::pin(endpointslice::run(context))),
    ("namespace-controller", |context| Box::pin(namespace::run(context))),
    ("serviceaccount-controller", |context| Box::pin(serviceaccount::run(context))),
    ("serviceaccount-token-controller", |context| Box::pin(serviceaccount_tokens::run(context))),
    ("persistentvolume-binder-controller", |context| Box::pin(volumes::run(context))),
    ("certificatesigningrequest-approving-controller", |context| Box::pin(certificates::run_approving(context))),
    ("certificatesigningrequest-signing-controller", |context| Box::pin(certificates::run_signing(context))),
    ("certificatesigningrequest-cleaner-controller", |context| Box::pin(certificates::run_cleaning(context))),
    ("clusterrole-aggregation-controller", |context| Box::pin(clusterrole_aggregation::run(context))),
    ("token-cleaner-controller", |context| Box::pin(bootstrap_tokens::run_cleaning(context))),
    ("bootstrap-signer-controller", |context| Box::pin(bootstrap_tokens::run_signing(context))),
];

/// What `Selection` may name.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// Where events say that they come from, which upstream does not always call as the loop.
fn component(name: &str) -> &str {
    match name {
        "replicationcontroller-controller" => "replication-controller",
        "disruption-controller" => "controllermanager",
        "node-lifecycle-controller" => "node-controller",
        "endpoints-controller" => "endpoint-controller",
        "endpointslice-controller" => "endpoint-slice-controller",
        "endpointslice-mirroring-controller" => "endpoint-slice-mirroring-controller",
        "persistentvolume-binder-controller" => "persistentvolume-controller",
        name => name,
    }
}

/// Runs the chosen loops until the context's `stop`.
pub async fn run(context: Context, chosen: Selection) {
    // Each in a task of its own, so that they run side by side.
    let tasks = ALL.iter().filter(|(name, _)| chosen.has(name)).map(|(name, start)| {
        let recorder = context.recorder.of(component(name));
        tokio::spawn(start(Context { recorder, ..context.clone() }))
    });
    for ended in join_all(tasks).await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller ended");
        }
    }
}

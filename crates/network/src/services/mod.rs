//! From a Service's addresses to its endpoints, in the kernel: `table` reads the objects, `ruleset` turns
//! them into an nftables table (both pure), and this module keeps the kernel in line with them.

mod ruleset;
mod stale;
mod table;

use crate::Config;
use crate::nft::{self, NftError};
use client::{Informer, Informers, Object};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use ruleset::{Frame, Ruleset};
use stale::Frontends;
use std::sync::Arc;
use std::time::Duration;
use table::{Place, Slices};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use ruleset::TABLE;

/// Changes come in bursts (a rollout, a list); this long they are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// How often to look whether somebody has flushed the table.
const LOOK: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Keeps the node's Service table in line with the API until `stop`. The table stays when it ends:
/// traffic does not depend on this process being there.
pub async fn run(config: Config, informers: Informers, stop: CancellationToken) {
    let services = informers.of::<Service>();
    let slices = informers.of::<EndpointSlice>();
    let nodes = informers.selected::<Node>(None, Some(&format!("metadata.name={}", config.node_name)));
    let changed = Arc::new(Notify::new());
    wake(&services, &changed);
    wake(&slices, &changed);
    wake_on_zone(&nodes, &changed);
    let synced = async { tokio::join!(services.synced(), slices.synced(), nodes.synced()) };
    if stop.run_until_cancelled(synced).await.is_none() {
        return;
    }
    let mut kernel = Kernel::new(&config);
    let mut failures = 0u32;
    let mut look = false;
    loop {
        let zone = nodes.get("", &config.node_name).and_then(|n| n.labels().get(ZONE).cloned());
        let place = Place { node: config.node_name.clone(), zone };
        let (all, behind) = (services.list(), by_service(slices.list()));
        // Running nft and asking the kernel block, a few milliseconds each.
        let done = tokio::task::spawn_blocking(move || {
            if look {
                kernel.look();
            }
            let outcome = kernel.apply(&table::build(&all, &behind, &place));
            (kernel, outcome)
        });
        let outcome;
        (kernel, outcome) = match done.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "the Service table was abandoned half way; starting over");
                (Kernel::new(&config), Ok(()))
            }
        };
        let patience = match outcome {
            Ok(()) => {
                failures = 0;
                LOOK
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, "the Service table could not be updated, will retry");
                Duration::from_millis(100 << failures.min(9)).min(PATIENCE)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {
                look = false;
                tokio::time::sleep(GATHER).await;
            }
            () = tokio::time::sleep(patience) => look = true,
        }
    }
}

/// What the kernel was last told.
struct Kernel {
    frame: Frame,
    /// `None`: unknown, so the whole table is to be replaced.
    present: Option<Ruleset>,
    udp: Frontends,
}

impl Kernel {
    fn new(config: &Config) -> Self {
        let frame = Frame { cluster_cidr: config.cluster_cidr, service_cidr: config.service_cidr, dns: config.cluster_dns_ip };
        Self { frame, present: None, udp: Frontends::default() }
    }

    fn apply(&mut self, table: &[table::ServicePort]) -> Result<(), NftError> {
        let wanted = Ruleset::build(&self.frame, table);
        if self.present.as_ref() != Some(&wanted) {
            let change = self.present.take().map(|present| present.difference(&wanted));
            let by_difference = change.is_some_and(|script| {
                nft::apply(&script)
                    .inspect_err(|error| tracing::info!(%error, "the Service table is not as it was left; replacing it"))
                    .is_ok()
            });
            if !by_difference {
                nft::apply(&wanted.script(&self.frame))?;
            }
            self.present = Some(wanted);
        }
        let udp = Frontends::of(table);
        if udp != self.udp {
            // Only after the new rules are in place: a flow that is forgotten earlier may come back as it was.
            match udp.forget_stale() {
                Ok(0) => {}
                Ok(forgotten) => tracing::debug!(forgotten, "UDP flows to endpoints that are gone"),
                Err(error) => tracing::warn!(%error, "cannot clean up UDP flows"),
            }
            self.udp = udp;
        }
        Ok(())
    }

    /// Notices when the table is gone.
    fn look(&mut self) {
        if matches!(nft::list(&["chain", "ip", TABLE, "services"]), Ok(None)) {
            self.present = None;
        }
    }
}

fn by_service(slices: Vec<Arc<EndpointSlice>>) -> Slices {
    let mut by_service = Slices::new();
    for slice in slices {
        if let Some(service) = slice.labels().get(SERVICE_NAME) {
            by_service.entry((slice.namespace().unwrap_or_default(), service.clone())).or_default().push(slice);
        }
    }
    by_service
}

fn wake<K: Object>(informer: &Informer<K>, changed: &Arc<Notify>) {
    let mut changes = informer.changes();
    let changed = changed.clone();
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            changed.notify_one();
        }
    });
}

/// A Node changes every few seconds; all that matters here is its zone.
fn wake_on_zone(nodes: &Informer<Node>, changed: &Arc<Notify>) {
    let mut changes = nodes.changes();
    let changed = changed.clone();
    tokio::spawn(async move {
        let mut before = None;
        while let Some(change) = changes.recv().await {
            let zone = change.new.and_then(|n| n.labels().get(ZONE).cloned());
            if zone != before {
                before = zone;
                changed.notify_one();
            }
        }
    });
}

#[cfg(test)]
mod tests;

//! The node's Lease: renewed while the agent lives, whatever the runtime does.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "kube-node-lease";
const SECONDS: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);

pub async fn run(client: Client, node: String, stop: CancellationToken) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let nodes: Api<Node> = Api::all(client);
    loop {
        let wait = match renew(&leases, &nodes, &node).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::debug!(%error, "the node's lease was not renewed");
                RETRY
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

async fn renew(leases: &Api<Lease>, nodes: &Api<Node>, name: &str) -> kube::Result<()> {
    let now = MicroTime(jiff::Timestamp::now());
    let patch = serde_json::json!({"spec": {"holderIdentity": name, "leaseDurationSeconds": SECONDS, "renewTime": now}});
    match leases.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error),
    }
    // It goes with the node.
    let owner = nodes.get_opt(name).await?.map(|node| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid: node.uid().unwrap_or_default(),
        ..Default::default()
    });
    let lease = Lease {
        metadata: ObjectMeta { name: Some(name.into()), owner_references: owner.map(|o| vec![o]), ..Default::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.into()),
            lease_duration_seconds: Some(SECONDS),
            renew_time: Some(now),
            ..Default::default()
        }),
    };
    leases.create(&PostParams::default(), &lease).await.map(drop)
}

//! Who this server is among those of one store: a Lease in kube-system, kept while it runs.

use crate::server::ApiServer;
use jiff::Timestamp;
use meta::{ApiError, GroupResource, time, value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

const NAMESPACE: &str = "kube-system";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const HOLDER: &str = "kube-apiserver";
/// Upstream's numbers.
const LASTS: i64 = 3600;
const RENEW: Duration = Duration::from_secs(10);
/// Leases of servers that have died are looked for so often, in renewals.
const CLEAN: u32 = 60;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn leases() -> GroupResource {
    GroupResource::new("coordination.k8s.io", "leases")
}

/// `apiserver-` and the host name's hash, as upstream makes it.
pub fn lease_name(identity: &str) -> String {
    let hash = Sha256::digest(identity);
    let (mut name, mut bits, mut left) = (String::from("apiserver-"), 0u32, 0u32);
    for byte in &hash[..16] {
        bits = bits << 8 | u32::from(*byte);
        left += 8;
        while left >= 5 {
            left -= 5;
            name.push(char::from(BASE32[(bits >> left & 31) as usize]));
        }
    }
    if left > 0 {
        name.push(char::from(BASE32[(bits << (5 - left) & 31) as usize]));
    }
    name
}

fn micro_now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

pub async fn run(server: ApiServer, identity: String) {
    let stop = server.inner.stop.clone();
    let name = lease_name(&identity);
    let holder = format!("{name}_{}", uuid::Uuid::new_v4());
    let mut interval = tokio::time::interval(RENEW);
    let mut round = 0u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = interval.tick() => {}
        }
        if let Err(error) = renew(&server, &name, &holder, &identity).await {
            tracing::warn!(error = error.message, "this server's lease could not be renewed");
        }
        if round.is_multiple_of(CLEAN) {
            clean(&server).await;
        }
        round = round.wrapping_add(1);
    }
    // Nothing is lost where it stays: it runs out.
    let _ = server.delete_object(&leases(), NAMESPACE, &name, None, None).await;
}

async fn renew(server: &ApiServer, name: &str, holder: &str, host: &str) -> Result<(), ApiError> {
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": LASTS, "renewTime": micro_now()});
    let labels = json!({LABEL: HOLDER, "kubernetes.io/hostname": host});
    let change = |lease: &mut Value| {
        value::set(lease, &["spec"], spec.clone());
        value::set(lease, &["metadata", "labels"], labels.clone());
        Ok(())
    };
    match server.update_object(&leases(), NAMESPACE, name, change).await {
        Err(error) if error.code == 404 => {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "spec": spec,
            });
            server.create_object(&leases(), lease).await.map(drop)
        }
        result => result.map(drop),
    }
}

/// Leases of servers that have not renewed them in time.
async fn clean(server: &ApiServer) {
    let now = Timestamp::now().as_second();
    for lease in server.objects().list(&leases(), Some(NAMESPACE)) {
        if lease.label(LABEL) != Some(HOLDER) {
            continue;
        }
        let object = lease.value();
        let renewed = time::parse(value::text(&object, &["spec", "renewTime"])).map_or(0, |t| t.as_second());
        let lasts = value::int(&object, &["spec", "leaseDurationSeconds"]).unwrap_or(0);
        if renewed + lasts < now {
            // Another may have been faster.
            let _ = server.delete_object(&leases(), NAMESPACE, lease.name(), Some(lease.uid()), None).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lease_name;

    #[test]
    fn the_name_is_upstreams() {
        // printf a | sha256sum | cut -c1-32 | xxd -r -p | base32
        let name = lease_name("a");
        assert_eq!(name, "apiserver-zklycewkdo64v6wcggzzui64ju");
        assert_ne!(lease_name("b"), name);
    }
}

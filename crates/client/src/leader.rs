//! Leader election over a Lease: one holder at a time, renewed well before it runs out
//! (client-go's `leaderelection`: 15 s lease, 10 s renew deadline, 2 s retry).

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(2);

/// Held until lost; dropping it stops renewing.
pub struct Leadership {
    lost: CancellationToken,
    renewing: tokio::task::JoinHandle<()>,
}

impl Leadership {
    /// Cancelled when the lease could not be renewed in time. Whoever leads must stop at once.
    pub fn token(&self) -> CancellationToken {
        self.lost.clone()
    }

    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.renewing.abort();
        self.lost.cancel();
    }
}

/// Waits until `identity` holds the lease in `kube-system`.
pub async fn lead(client: Client, lease: &str, identity: &str, stop: CancellationToken) -> Leadership {
    let api: Api<Lease> = Api::namespaced(client, "kube-system");
    let mut election = Election { api, lease: lease.into(), identity: identity.into(), seen: None };
    while !stop.is_cancelled() {
        match election.acquire().await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::debug!(lease, %error, "leader election: no answer, will retry"),
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
    }
    let lost = stop.child_token();
    let renewing = tokio::spawn(election.hold(lost.clone()));
    Leadership { lost, renewing }
}

struct Election {
    api: Api<Lease>,
    lease: String,
    identity: String,
    /// The other holder's last renewal as it was written, and when we first saw it: expiry is judged by
    /// our own clock, so that clocks need not agree.
    seen: Option<(Option<MicroTime>, Instant)>,
}

impl Election {
    async fn acquire(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.api.get_opt(&self.lease).await? else {
            let spec = LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(LEASE.as_secs() as i32),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..Default::default()
            };
            let metadata = kube::core::ObjectMeta { name: Some(self.lease.clone()), ..Default::default() };
            let created = self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await;
            return won(created);
        };
        let mut spec = lease.spec.take().unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&self.identity);
        let held = spec.holder_identity.as_deref().is_some_and(|h| !h.is_empty());
        if held && !ours {
            let duration = Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).max(0) as u64);
            match &self.seen {
                Some((renewal, since)) if *renewal == spec.renew_time => {
                    if since.elapsed() < duration {
                        return Ok(false);
                    }
                }
                _ => {
                    self.seen = Some((spec.renew_time.clone(), Instant::now()));
                    return Ok(false);
                }
            }
        }
        if !ours {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(LEASE.as_secs() as i32);
        spec.renew_time = Some(now);
        lease.spec = Some(spec);
        won(self.api.replace(&self.lease, &PostParams::default(), &lease).await)
    }

    async fn hold(mut self, lost: CancellationToken) {
        let mut renewed = Instant::now();
        while lost.run_until_cancelled(tokio::time::sleep(RENEW)).await.is_some() {
            while !matches!(tokio::time::timeout(RETRY, self.acquire()).await, Ok(Ok(true))) {
                if renewed.elapsed() > RENEW_DEADLINE {
                    tracing::warn!(lease = self.lease, "leadership lost");
                    lost.cancel();
                    return;
                }
                tokio::time::sleep(RETRY).await;
            }
            renewed = Instant::now();
        }
    }
}

/// A conflict means that somebody else was quicker.
fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

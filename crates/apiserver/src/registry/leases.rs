//! Leases for objects that end by themselves. Objects that are written close together share one, as upstream has
//! it, so that a flood of events is no flood of leases.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use store::{Error, LeaseId, Store};
use tokio::sync::Mutex;

/// A lease takes objects for so long, and lasts longer by as much.
const SHARED: Duration = Duration::from_secs(60);
const OBJECTS: usize = 1000;

struct Current {
    lease: LeaseId,
    since: Instant,
    objects: usize,
}

/// The newest lease of each time to live.
#[derive(Default)]
pub struct Leases(Mutex<HashMap<Duration, Current>>);

impl Leases {
    /// A lease on which an object can be put that is to last for `ttl`.
    pub async fn get(&self, store: &dyn Store, ttl: Duration) -> Result<LeaseId, Error> {
        let mut leases = self.0.lock().await;
        if let Some(current) = leases.get_mut(&ttl)
            && current.since.elapsed() < SHARED.min(ttl)
            && current.objects < OBJECTS
        {
            current.objects += 1;
            return Ok(current.lease);
        }
        let lease = store.lease_grant(ttl + SHARED.min(ttl)).await?;
        leases.insert(ttl, Current { lease, since: Instant::now(), objects: 1 });
        Ok(lease)
    }

    /// A lease that is no longer there takes no more objects.
    pub async fn forget(&self, lease: LeaseId) {
        self.0.lock().await.retain(|_, current| current.lease != lease);
    }
}

//! Leases and what hangs on them. Expiry is counted on the monotonic clock, so that a jump of the
//! wall clock ends none.

use crate::LeaseId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Lease {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<Arc<str>>,
}

#[derive(Default)]
pub struct Leases {
    leases: HashMap<LeaseId, Lease>,
}

impl Leases {
    pub fn add(&mut self, lease: LeaseId, ttl: Duration) {
        self.leases.insert(lease, Lease { ttl, ends: Instant::now() + ttl, keys: BTreeSet::new() });
    }

    pub fn exists(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    pub fn attach(&mut self, lease: LeaseId, key: &Arc<str>) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(key.clone());
        }
    }

    pub fn detach(&mut self, lease: LeaseId, key: &str) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(key);
        }
    }

    pub fn keep_alive(&mut self, lease: LeaseId) -> bool {
        match self.leases.get_mut(&lease) {
            Some(lease) => {
                lease.ends = Instant::now() + lease.ttl;
                true
            }
            None => false,
        }
    }

    pub fn keys(&self, lease: LeaseId) -> Vec<Arc<str>> {
        self.leases.get(&lease).map(|l| l.keys.iter().cloned().collect()).unwrap_or_default()
    }

    pub fn remove(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }

    /// All, with their time to live in milliseconds.
    pub fn all(&self) -> Vec<(LeaseId, u64)> {
        self.leases.iter().map(|(id, lease)| (*id, u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX))).collect()
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|l| l.ends).min()
    }

    pub fn ended(&self) -> Vec<LeaseId> {
        let now = Instant::now();
        self.leases.iter().filter(|(_, l)| l.ends <= now).map(|(id, _)| *id).collect()
    }

    /// Gives an ended lease a little longer, when its end could not be written.
    pub fn postpone(&mut self, lease: LeaseId, by: Duration) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.ends = Instant::now() + by;
        }
    }
}

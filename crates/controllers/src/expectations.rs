//! What a loop has done that its cache does not show yet. Until the cache has caught up the loop must
//! not count its children again, or it would make them twice (upstream's `ControllerExpectations`).

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// A cache that has not shown a write after this long has missed it.
const FORGET: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Expectations {
    /// Parent → names of children to appear, uids of children to go.
    pending: Mutex<HashMap<String, Pending>>,
}

struct Pending {
    since: Instant,
    created: HashSet<String>,
    deleted: HashSet<String>,
}

impl Expectations {
    fn with<T>(&self, parent: &str, work: impl FnOnce(&mut Pending) -> T) -> T {
        let mut pending = self.pending.lock();
        let entry = pending.entry(parent.into()).or_insert_with(|| Pending {
            since: Instant::now(),
            created: HashSet::new(),
            deleted: HashSet::new(),
        });
        work(entry)
    }

    pub fn created(&self, parent: &str, uid: String) {
        self.with(parent, |p| {
            p.since = Instant::now();
            p.created.insert(uid);
        });
    }

    pub fn deleted(&self, parent: &str, uid: String) {
        self.with(parent, |p| {
            p.since = Instant::now();
            p.deleted.insert(uid);
        });
    }

    /// Whether the cache shows everything done so far. `has` tells whether a uid is in the cache, and
    /// `going` whether it is gone or on its way.
    pub fn met(&self, parent: &str, has: impl Fn(&str) -> bool, going: impl Fn(&str) -> bool) -> bool {
        let mut pending = self.pending.lock();
        let Some(entry) = pending.get_mut(parent) else { return true };
        entry.created.retain(|uid| !has(uid));
        entry.deleted.retain(|uid| !going(uid));
        let met = (entry.created.is_empty() && entry.deleted.is_empty()) || entry.since.elapsed() > FORGET;
        if met {
            pending.remove(parent);
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_child_is_waited_for_until_the_cache_has_it() {
        let expectations = Expectations::default();
        expectations.created("p", "u".into());
        assert!(!expectations.met("p", |_| false, |_| true));
        assert!(expectations.met("p", |_| true, |_| true));
        assert!(expectations.met("p", |_| false, |_| true), "once met, it is over");
    }

    #[test]
    fn a_deleted_child_is_waited_for_until_it_is_going() {
        let expectations = Expectations::default();
        expectations.deleted("p", "u".into());
        assert!(!expectations.met("p", |_| true, |_| false));
        assert!(expectations.met("p", |_| true, |_| true));
    }
}

//! The back-off of crashing containers and failing pulls: 10 s, doubling to 5 minutes, forgotten
//! after a container has run for 10 (client-go `flowcontrol.Backoff`, measured from the exit).

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

pub const FIRST: SignedDuration = SignedDuration::from_secs(10);
pub const LONGEST: SignedDuration = SignedDuration::from_secs(300);

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

#[derive(Clone, Debug, Default)]
pub struct Backoff {
    entries: HashMap<String, Entry>,
}

impl Backoff {
    /// Until when a thing that failed at `since` is to be left alone, and its present delay.
    pub fn until(&self, key: &str, since: Timestamp, now: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        let entry = self.entries.get(key)?;
        if expired(entry, since) {
            return None;
        }
        let until = since + entry.delay;
        (until > now).then_some((until, entry.delay))
    }

    /// Of what fails without a time of its own: counted from the last attempt.
    pub fn until_now(&self, key: &str, now: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        self.until(key, self.entries.get(key)?.updated, now)
    }

    /// Another attempt is made of what failed at `since`.
    pub fn next(&mut self, key: &str, since: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !expired(entry, since) => (entry.delay * 2).min(LONGEST),
            _ => FIRST,
        };
        self.entries.insert(key.to_string(), Entry { delay, updated: now });
    }

    pub fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

fn expired(entry: &Entry, since: Timestamp) -> bool {
    entry.updated.duration_until(since) > LONGEST * 2
}

/// As Go prints a `time.Duration` of whole seconds.
pub fn printed(delay: SignedDuration) -> String {
    let seconds = delay.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_ever_longer() {
        let mut backoff = Backoff::default();
        let mut at = Timestamp::UNIX_EPOCH;
        assert_eq!(backoff.until("c", at, at), None);
        let mut delays = Vec::new();
        for _ in 0..7 {
            backoff.next("c", at, at);
            let (until, delay) = backoff.until("c", at, at).expect("a delay");
            delays.push(printed(delay));
            at = until;
        }
        assert_eq!(delays, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
    }

    #[test]
    fn a_container_that_ran_for_long_starts_afresh() {
        let mut backoff = Backoff::default();
        let start = Timestamp::UNIX_EPOCH;
        backoff.next("c", start, start);
        backoff.next("c", start, start);
        let exit = start + LONGEST * 2 + SignedDuration::from_secs(1);
        assert_eq!(backoff.until("c", exit, exit), None);
        backoff.next("c", exit, exit);
        assert_eq!(backoff.until("c", exit, exit).expect("a delay").1, FIRST);
    }
}

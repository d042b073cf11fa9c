//! How large each ReplicaSet of a Deployment should be. Pure: what is there in, sizes out.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use std::sync::Arc;

/// What a rolling update may do at most, in pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub desired: i32,
    pub surge: i32,
    pub unavailable: i32,
}

impl Limits {
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let desired = spec.and_then(|s| s.replicas).unwrap_or(1);
        let strategy = spec.and_then(|s| s.strategy.as_ref());
        if recreates(deployment) {
            return Self { desired, surge: 0, unavailable: 0 };
        }
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let surge = part(rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&quarter), desired, true);
        let mut unavailable = part(rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&quarter), desired, false);
        // With neither it could not move at all (upstream's ResolveFenceposts).
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { desired, surge, unavailable: unavailable.min(desired) }
    }

    /// How many pods there may be.
    pub fn most(&self) -> i32 {
        self.desired.saturating_add(self.surge)
    }
}

/// Whether all old pods go before a new one comes.
pub fn recreates(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|s| s.strategy.as_ref()).and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

/// A number, or a percentage of `of`.
fn part(value: &IntOrString, of: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(n) => (*n).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let scaled = percent.max(0) * i64::from(of.max(0));
            i32::try_from(if round_up { (scaled + 99) / 100 } else { scaled / 100 }).unwrap_or(i32::MAX)
        }
    }
}

pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
}

/// The size a new set is created with.
pub fn initial(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> i32 {
    let limits = Limits::of(deployment);
    let others: i32 = old.iter().map(|s| size(s)).sum();
    (limits.most() - others).clamp(0, limits.desired)
}

/// The sets to scale, by uid, with their new sizes; those that fit are left out.
pub fn decide(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    old: &[Arc<ReplicaSet>],
    has_pods: impl Fn(&ReplicaSet) -> bool,
) -> Vec<(String, i32)> {
    let limits = Limits::of(deployment);
    let recreate = recreates(deployment);
    let mut wanted: Vec<(String, i32)> = Vec::new();
    let mut want = |set: &ReplicaSet, to: i32| {
        if to != size(set) {
            wanted.push((set.uid().unwrap_or_default(), to));
        }
    };
    if recreate {
        for set in old {
            want(set, 0);
        }
        if let Some(new) = new
            && !old.iter().any(|s| has_pods(s))
        {
            want(new, limits.desired);
        }
        return wanted;
    }
    let Some(new) = new else { return wanted };
    let total: i32 = old.iter().map(|s| size(s)).sum::<i32>() + size(new);
    let grown = if size(new) > limits.desired {
        limits.desired
    } else {
        let room = (limits.most() - total).max(0);
        (size(new) + room).min(limits.desired).max(size(new))
    };
    want(new, grown);
    // What may be taken away from the old sets: all that is above the least that must be available,
    // where the part of the new set that is not available yet does not count.
    let least = limits.desired - limits.unavailable;
    let new_unavailable = size(new) - available(new);
    let mut budget = (total - least - new_unavailable.max(0)).max(0);
    let mut oldest: Vec<&Arc<ReplicaSet>> = old.iter().filter(|s| size(s) > 0).collect();
    oldest.sort_by_key(|s| s.creation_timestamp().map(|t| t.0));
    let mut left: Vec<(&Arc<ReplicaSet>, i32)> = Vec::new();
    // Pods that do not work go first: they are worth nothing to the availability.
    for set in oldest {
        let broken = (size(set) - available(set)).max(0).min(budget);
        budget -= broken;
        left.push((set, size(set) - broken));
    }
    let available_now: i32 = old.iter().map(|s| available(s).min(size(s))).sum::<i32>() + available(new);
    let mut healthy = (available_now - least).max(0).min(budget);
    for (set, size_left) in left {
        let taken = size_left.min(healthy);
        healthy -= taken;
        want(set, size_left - taken);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(replicas: i32, strategy: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "uid": "d"},
            "spec": {"replicas": replicas, "selector": {}, "strategy": strategy, "template": {}},
        }))
        .unwrap()
    }

    fn set(uid: &str, size: i32, available: i32) -> Arc<ReplicaSet> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": uid, "uid": uid}, "spec": {"replicas": size, "selector": {}},
                "status": {"replicas": size, "availableReplicas": available},
            }))
            .unwrap(),
        )
    }

    /// Applies the plan until nothing changes, every pod becoming available at once; returns the lowest
    /// availability and the highest total on the way.
    fn roll(deployment: &Deployment, mut old: i32) -> (i32, i32, i32) {
        let (mut new, mut lowest, mut highest) = (initial(deployment, &[set("o", old, old)]), old, old);
        for _ in 0..200 {
            highest = highest.max(old + new);
            let (o, n) = (set("o", old, old), set("n", new, new));
            let moves = decide(deployment, Some(&n), &[o], |s| size(s) > 0);
            if moves.is_empty() {
                return (new, lowest, highest);
            }
            let before = new;
            for (uid, to) in moves {
                if uid == "n" { new = to } else { old = to }
            }
            lowest = lowest.min(old + before);
        }
        panic!("it does not end: {old} {new}");
    }

    #[test]
    fn a_rolling_update_ends_and_keeps_its_limits() {
        for (replicas, surge, unavailable) in [(1, "25%", "25%"), (3, "1", "0"), (10, "0", "3"), (10, "50%", "50%"), (4, "0", "0")] {
            let int = |s: &str| s.parse::<i32>().map_or_else(|_| json!(s), |n| json!(n));
            let d = deployment(
                replicas,
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": int(surge), "maxUnavailable": int(unavailable)}}),
            );
            let limits = Limits::of(&d);
            let (size, lowest, highest) = roll(&d, replicas);
            assert_eq!(size, replicas, "{surge} {unavailable}");
            assert!(lowest >= limits.desired - limits.unavailable, "{surge} {unavailable}: {lowest}");
            assert!(highest <= limits.desired + limits.surge, "{surge} {unavailable}: {highest}");
        }
    }

    #[test]
    fn a_new_set_that_does_not_come_up_leaves_the_old_one_standing() {
        let d = deployment(4, json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}));
        let moves = decide(&d, Some(&set("n", 1, 0)), &[set("o", 4, 4)], |_| true);
        assert_eq!(moves, []);
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_gone() {
        let d = deployment(2, json!({"type": "Recreate"}));
        let new = set("n", 0, 0);
        assert_eq!(decide(&d, Some(&new), &[set("o", 2, 2)], |_| true), [("o".to_string(), 0)]);
        assert_eq!(decide(&d, Some(&new), &[set("o", 0, 0)], |_| true), []);
        assert_eq!(decide(&d, Some(&new), &[set("o", 0, 0)], |_| false), [("n".to_string(), 2)]);
    }

    #[test]
    fn scaling_changes_the_only_set() {
        let d = deployment(5, json!({"type": "RollingUpdate"}));
        assert_eq!(decide(&d, Some(&set("n", 2, 2)), &[], |_| false), [("n".to_string(), 5)]);
        assert_eq!(decide(&d, Some(&set("n", 9, 9)), &[], |_| false), [("n".to_string(), 5)]);
    }
}

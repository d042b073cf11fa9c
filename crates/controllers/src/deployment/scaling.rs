//! What a change of a Deployment's number does to its sets. Every set in use gets its share at once, in proportion to its
//! size; the way from the old template to the new goes on afterwards (upstream's proportional scaling).

use super::plan::{Limits, available, recreates, size};
use super::{DESIRED, MAX};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;
use std::sync::Arc;

fn number(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.annotations().get(annotation)?.parse().ok()
}

fn used<'a>(new: Option<&'a ReplicaSet>, old: &'a [Arc<ReplicaSet>]) -> impl Iterator<Item = &'a ReplicaSet> {
    old.iter().map(|s| &**s).chain(new).filter(|s| size(s) > 0)
}

/// Whether the sets were last sized for another number than the Deployment has now.
pub fn due(deployment: &Deployment, new: Option<&ReplicaSet>, old: &[Arc<ReplicaSet>]) -> bool {
    let desired = Limits::of(deployment).desired;
    used(new, old).any(|s| number(s, DESIRED).is_some_and(|d| d != desired))
}

/// The sets to scale, by uid, with their new sizes; among them those of which only the annotations are to be renewed.
pub fn decide(deployment: &Deployment, new: Option<&ReplicaSet>, old: &[Arc<ReplicaSet>]) -> Vec<(String, i32)> {
    let limits = Limits::of(deployment);
    let max = limits.most();
    let mut wanted: Vec<(String, i32)> = Vec::new();
    let mut want = |set: &ReplicaSet, to: i32| {
        if to != size(set) || number(set, DESIRED) != Some(limits.desired) || number(set, MAX) != Some(max) {
            wanted.push((set.uid().unwrap_or_default(), to));
        }
    };
    let mut used: Vec<&ReplicaSet> = used(new, old).collect();
    if used.len() < 2 {
        let latest = || old.iter().map(|s| &**s).max_by_key(|s| s.creation_timestamp().map(|t| t.0));
        if let Some(only) = used.pop().or(new).or_else(latest) {
            want(only, limits.desired);
        }
        return wanted;
    }
    let saturated =
        |s: &ReplicaSet| size(s) == limits.desired && available(s) == limits.desired && number(s, DESIRED) == Some(limits.desired);
    if new.is_some_and(saturated) {
        for set in old.iter().filter(|s| size(s) > 0) {
            want(set, 0);
        }
        return wanted;
    }
    if recreates(deployment) {
        return wanted;
    }
    let total: i32 = used.iter().map(|s| size(s)).sum();
    let difference = if limits.desired > 0 { max - total } else { -total };
    // The largest first; of equal ones the newest grows and the oldest shrinks.
    used.sort_by_key(|s| s.creation_timestamp().map(|t| t.0));
    if difference > 0 {
        used.reverse();
    }
    used.sort_by_key(|s| std::cmp::Reverse(size(s)));
    let mut left = difference;
    let mut shares: Vec<i32> = Vec::new();
    for set in &used {
        let share = share(set, deployment, &limits);
        let taken = if left > 0 { share.min(left).max(0) } else { share.max(left).min(0) };
        left -= taken;
        shares.push(taken);
    }
    for (at, (set, share)) in used.iter().zip(shares).enumerate() {
        // What rounding leaves is the largest one's.
        let rest = if at == 0 { left } else { 0 };
        want(set, (size(set) + share + rest).max(0));
    }
    wanted
}

/// How much a set would grow or shrink so that it stays as large a part of the whole.
fn share(set: &ReplicaSet, deployment: &Deployment, limits: &Limits) -> i32 {
    let now = size(set);
    if limits.desired == 0 {
        return -now;
    }
    let before = number(set, MAX).filter(|m| *m != 0).or_else(|| deployment.status.as_ref().and_then(|s| s.replicas)).unwrap_or(0);
    if before <= 0 {
        return 0;
    }
    let (now, max, before) = (i64::from(now), i64::from(limits.most()), i64::from(before));
    let scaled = (2 * now * max + before) / (2 * before);
    i32::try_from(scaled - now).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(replicas: i32) -> Deployment {
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
        serde_json::from_value(
            json!({"metadata": {"name": "d"}, "spec": {"replicas": replicas, "selector": {}, "strategy": rolling, "template": {}}}),
        )
        .unwrap()
    }

    fn set(uid: &str, size: i32, of: i32) -> Arc<ReplicaSet> {
        let annotations = json!({DESIRED: of.to_string(), MAX: (of + 3).to_string()});
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": uid, "uid": uid, "annotations": annotations}, "spec": {"replicas": size, "selector": {}},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn sets_in_use_share_what_is_added_and_taken_by_their_sizes() {
        let scaled = |to: i32, new: i32, old: i32, from: i32| {
            let (new, old) = (set("n", new, from), [set("o", old, from)]);
            let mut moves = if due(&deployment(to), Some(&new), &old) { decide(&deployment(to), Some(&new), &old) } else { Vec::new() };
            moves.sort();
            moves.into_iter().map(|(_, size)| size).collect::<Vec<_>>()
        };
        assert_eq!(scaled(30, 5, 8, 10), [13, 20]);
        assert_eq!(scaled(10, 13, 20, 30), [5, 8]);
        assert_eq!(scaled(0, 5, 8, 10), [0, 0]);
        assert_eq!(scaled(10, 5, 8, 10), [0; 0], "the number is as it was");
        // A set alone takes it all.
        assert_eq!(scaled(30, 0, 10, 10), [30]);
    }

    #[test]
    fn a_set_that_stays_as_large_is_told_the_new_number() {
        let (new, old) = (set("n", 1, 11), [set("o", 13, 11)]);
        assert_eq!(decide(&deployment(12), Some(&new), &old), [("o".to_string(), 14), ("n".to_string(), 1)]);
        assert!(!due(&deployment(12), Some(&set("n", 1, 12)), &[set("o", 14, 12)]));
    }
}

//! What a Job's counts say: index lists, what its pods did, and whether it is over.

use crate::pods;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::BTreeSet;

pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// `1,3-5` as a set; what cannot be read is left out.
pub fn parse(text: &str) -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            all.extend(first..=last);
        }
    }
    all
}

pub fn print(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let written = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    written.collect::<Vec<_>>().join(",")
}

pub fn index(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

pub fn succeeded(pod: &Pod) -> bool {
    pods::phase(pod) == "Succeeded"
}

/// A pod that was deleted from under the Job has failed, finished or not.
pub fn failed(pod: &Pod) -> bool {
    pods::phase(pod) == "Failed" || (pod.metadata.deletion_timestamp.is_some() && !succeeded(pod))
}

/// How many pods to make, or to take away where negative (upstream's `manageJob`).
pub fn missing(parallelism: i32, completions: Option<i32>, succeeded: i32, active: i32) -> i32 {
    let wanted = match completions {
        // Any success ends a work queue: what runs runs out, and nothing new starts.
        None if succeeded > 0 => active.min(parallelism),
        None => parallelism,
        Some(completions) => (completions - succeeded).clamp(0, parallelism),
    };
    wanted - active
}

/// The lowest indexes that neither run nor are done.
pub fn free(completions: i32, taken: &BTreeSet<i32>, count: i32) -> Vec<i32> {
    (0..completions).filter(|i| !taken.contains(i)).take(usize::try_from(count).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_lists_are_written_in_runs() {
        let set = BTreeSet::from([0, 2, 3, 5, 6, 7]);
        assert_eq!(print(&set), "0,2,3,5-7");
        assert_eq!(parse("0,2,3,5-7"), set);
        assert_eq!(parse(""), BTreeSet::new());
    }

    #[test]
    fn no_more_pods_run_than_completions_are_missing() {
        assert_eq!(missing(2, Some(4), 0, 0), 2);
        assert_eq!(missing(2, Some(4), 3, 1), 0);
        assert_eq!(missing(2, Some(4), 4, 1), -1);
        assert_eq!(missing(3, None, 0, 1), 2);
        assert_eq!(missing(3, None, 1, 2), 0);
        assert_eq!(missing(0, Some(4), 0, 2), -2);
    }
}

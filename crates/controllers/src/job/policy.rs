//! The rules a Job may have about failed pods and about success, and the notation of index sets.

use super::plan::index;
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::BTreeSet;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Count,
    Ignore,
    FailIndex,
    FailJob(String),
}

/// `0-2,5` as a set. Parts that cannot be read name nothing.
pub fn parse_indexes(text: &str) -> BTreeSet<i32> {
    let mut set = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            set.extend(first..=last);
        }
    }
    set
}

pub fn format_indexes(set: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &i in set {
        match runs.last_mut() {
            Some(run) if run.1 + 1 == i => run.1 = i,
            _ => runs.push((i, i)),
        }
    }
    let part = |(a, b): &(i32, i32)| match b - a {
        0 => a.to_string(),
        1 => format!("{a},{b}"),
        _ => format!("{a}-{b}"),
    };
    runs.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The restarts of every container of the pod.
pub fn all_restarts(pod: &Pod) -> i32 {
    let status = pod.status.iter();
    let each = status.flat_map(|s| s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten()));
    each.map(|s| s.restart_count).sum()
}

/// What the first matching rule makes of a failed pod.
pub fn verdict(spec: &JobSpec, pod: &Pod) -> Verdict {
    let name = || format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let rules = spec.pod_failure_policy.iter().flat_map(|p| p.rules.iter());
    for (at, rule) in rules.enumerate() {
        let statuses =
            pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten()));
        let exit = rule.on_exit_codes.as_ref().and_then(|on| {
            let named = statuses.filter(|s| on.container_name.as_ref().is_none_or(|n| *n == s.name));
            let ended = named.filter_map(|s| Some((&s.name, s.state.as_ref()?.terminated.as_ref()?.exit_code)));
            let matches = |code: i32| match on.operator.as_str() {
                "In" => on.values.contains(&code),
                "NotIn" => !on.values.contains(&code),
                _ => false,
            };
            ended.into_iter().find(|(_, code)| *code != 0 && matches(*code))
        });
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let wanted = |kind: &str, status: &str| {
            let mut wanted = rule.on_pod_conditions.iter().flatten();
            wanted.any(|w| w.type_ == kind && w.status.as_deref().unwrap_or("True") == status)
        };
        let condition = conditions.into_iter().find(|c| wanted(&c.type_, &c.status));
        let what = match (exit, condition) {
            (Some((container, code)), _) => format!("Container {container} for pod {} failed with exit code {code}", name()),
            (None, Some(condition)) => format!("Pod {} has condition {}", name(), condition.type_),
            (None, None) => continue,
        };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{what} matching FailJob rule at index {at}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// The first rule of the success policy that holds.
pub fn matched_success(spec: &JobSpec, completed: &BTreeSet<i32>) -> Option<usize> {
    spec.success_policy.as_ref()?.rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(parse_indexes);
        let there = wanted.as_ref().map_or(completed.len(), |w| w.intersection(completed).count());
        match (rule.succeeded_count, &wanted) {
            (Some(count), _) => i32::try_from(there).unwrap_or(i32::MAX) >= count,
            (None, Some(wanted)) => there == wanted.len(),
            (None, None) => false,
        }
    })
}

/// The failed pods that a next attempt waits for: of one index where failures are counted per index.
pub fn same_attempt(spec: &JobSpec, pod: &Pod, of: Option<i32>) -> bool {
    spec.backoff_limit_per_index.is_none() || index(pod) == of
}

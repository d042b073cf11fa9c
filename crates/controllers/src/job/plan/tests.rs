use super::*;
use serde_json::{Value, json};

fn job(spec: Value, status: Value) -> Job {
    let mut spec = spec;
    spec["template"] = json!({"spec": {"containers": [], "restartPolicy": "Never"}});
    serde_json::from_value(json!({"metadata": {"name": "j"}, "spec": spec, "status": status})).unwrap()
}

fn pod(uid: &str, phase: &str, tracked: bool, index: Option<i32>) -> Arc<Pod> {
    let annotations: BTreeMap<String, String> = index.map(|i| (INDEX.to_string(), i.to_string())).into_iter().collect();
    let finalizers: Vec<&str> = tracked.then_some(FINALIZER).into_iter().collect();
    let metadata = json!({"name": uid, "uid": uid, "annotations": annotations, "finalizers": finalizers});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "status": {"phase": phase}})).unwrap())
}

fn tally_of(job: &Job, pods: &[Arc<Pod>]) -> Tally {
    tally(job, job.spec.as_ref().unwrap(), pods, false)
}

#[test]
fn an_ended_pod_is_named_first_and_counted_once_its_finalizer_is_gone() {
    let new = job(json!({"completions": 2}), json!({}));
    let seen = tally_of(&new, &[pod("a", "Succeeded", true, None)]);
    assert_eq!((seen.succeeded, seen.successes(), seen.settled.len()), (0, 1, 1));
    let named = job(json!({"completions": 2}), json!({"uncountedTerminatedPods": {"succeeded": ["a"]}}));
    let seen = tally_of(&named, &[pod("a", "Succeeded", false, None)]);
    assert_eq!((seen.succeeded, seen.nothing_uncounted()), (1, true));
    let counted = job(json!({"completions": 2}), json!({"succeeded": 1}));
    assert_eq!(tally_of(&counted, &[pod("a", "Succeeded", false, None)]).successes(), 1);
}

#[test]
fn indexes_count_once_each_and_the_first_free_ones_come_next() {
    let job = job(json!({"completions": 5, "parallelism": 2, "completionMode": "Indexed"}), json!({"completedIndexes": "0-1"}));
    let seen = tally_of(&job, &[pod("a", "Succeeded", true, Some(1)), pod("b", "Running", true, Some(2))]);
    assert_eq!(seen.successes(), 2);
    assert_eq!(next_indexes(job.spec.as_ref().unwrap(), &seen, 2), [3, 4]);
}

#[test]
fn a_job_fails_beyond_its_backoff_limit_and_not_before() {
    let job = job(json!({"completions": 1, "backoffLimit": 1}), json!({"failed": 1}));
    let spec = job.spec.as_ref().unwrap();
    assert_eq!(failure(spec, &tally_of(&job, &[]), None), None);
    let seen = tally_of(&job, &[pod("a", "Failed", true, None)]);
    assert_eq!(failure(spec, &seen, None).unwrap().0, "BackoffLimitExceeded");
}

#[test]
fn a_work_queue_starts_no_pod_once_one_has_succeeded() {
    let job = job(json!({"parallelism": 3}), json!({}));
    let spec = job.spec.as_ref().unwrap();
    assert_eq!(wanted(spec, 0, 0, 0), 3);
    assert_eq!(wanted(spec, 1, 0, 2), 2);
}

#[test]
fn index_sets_are_written_as_upstream_writes_them() {
    let set = policy::parse_indexes("0,2-4,7");
    assert_eq!(policy::format_indexes(&set), "0,2-4,7");
    assert_eq!(policy::format_indexes(&[1, 2].into()), "1,2");
}

//! Pods in, plans out.

use super::*;
use crate::pods::state::Sandbox;
use jiff::SignedDuration;
use serde_json::{Value, json};

struct Case {
    pod: Pod,
    observed: Observed,
    health: HashMap<String, Health>,
    backoff: Backoff,
    blocked: HashMap<String, Blocked>,
    to_restart: HashSet<String>,
    has: HashMap<String, ResourceRequirements>,
    resize_at: Option<Timestamp>,
    now: Timestamp,
}

impl Case {
    fn new(spec: Value) -> Self {
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec})).expect("a pod");
        Self {
            pod,
            observed: Observed::default(),
            health: HashMap::new(),
            backoff: Backoff::default(),
            blocked: HashMap::new(),
            to_restart: HashSet::new(),
            has: HashMap::new(),
            resize_at: None,
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1000),
        }
    }

    fn with_sandbox(mut self) -> Self {
        self.observed.put_sandbox(Sandbox { id: "s0".into(), attempt: 0, ready: true, created_at: 1, ips: vec!["10.0.0.2".into()] });
        self
    }

    fn container(mut self, name: &str, state: Run, exit_code: i32) -> Self {
        let attempt = self.observed.latest(name).map_or(0, |s| s.attempt + 1);
        let hash = spec::find(self.pod.spec.as_ref().unwrap(), name).map(|(c, _)| spec::hash(&c)).unwrap_or_default();
        let id = format!("{name}-{attempt}");
        self.observed.put(Seen {
            id: id.clone(),
            name: name.into(),
            sandbox: "s0".into(),
            attempt,
            state,
            created_at: i64::from(attempt) + 1,
            started_at: 1,
            finished_at: if state == Run::Exited { 999_000_000_000 } else { 0 },
            exit_code,
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_ref: String::new(),
            hash,
            log_path: String::new(),
            message_file: None,
            message_policy: String::new(),
        });
        if state == Run::Running {
            self.health.insert(id, Health { started: true, ready: true, ..Health::default() });
        }
        self
    }

    fn plan(&self) -> Plan {
        plan(&View {
            pod: &self.pod,
            observed: &self.observed,
            health: &self.health,
            backoff: &self.backoff,
            blocked: &self.blocked,
            to_restart: &self.to_restart,
            has: &self.has,
            resize_at: self.resize_at,
            now: self.now,
        })
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.start.iter().map(|s| s.name.as_str()).collect()
}

fn two() -> Value {
    json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]})
}

#[test]
fn a_new_pod_gets_a_sandbox_first() {
    let plan = Case::new(two()).plan();
    assert_eq!((plan.sandbox, plan.start.len(), plan.finished), (Some(0), 0, false));
}

#[test]
fn main_containers_start_together_and_running_ones_are_left_alone() {
    assert_eq!(names(&Case::new(two()).with_sandbox().plan()), ["a", "b"]);
    let settled = Case::new(two()).with_sandbox().container("a", Run::Running, 0).container("b", Run::Running, 0).plan();
    assert_eq!(settled, Plan::default());
}

#[test]
fn init_containers_run_in_order_before_the_others() {
    let spec = json!({"initContainers": [{"name": "i1"}, {"name": "i2"}], "containers": [{"name": "a"}]});
    assert_eq!(names(&Case::new(spec.clone()).with_sandbox().plan()), ["i1"]);
    assert!(Case::new(spec.clone()).with_sandbox().container("i1", Run::Running, 0).plan().start.is_empty());
    assert_eq!(names(&Case::new(spec.clone()).with_sandbox().container("i1", Run::Exited, 0).plan()), ["i2"]);
    let done = Case::new(spec).with_sandbox().container("i1", Run::Exited, 0).container("i2", Run::Exited, 0);
    assert_eq!(names(&done.plan()), ["a"]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts_and_is_retried_otherwise() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    assert!(Case::new(spec("Never")).with_sandbox().container("i", Run::Exited, 1).plan().finished);
    let retried = Case::new(spec("Always")).with_sandbox().container("i", Run::Exited, 1).plan();
    assert_eq!((names(&retried), retried.start[0].attempt), (vec!["i"], 1));
}

#[test]
fn a_sidecar_is_waited_for_until_it_has_started_and_restarted_when_it_ends() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}], "containers": [{"name": "a"}]});
    let mut case = Case::new(spec.clone()).with_sandbox().container("s", Run::Running, 0);
    case.health.insert("s-0".into(), Health::default());
    assert!(case.plan().start.is_empty());
    assert_eq!(names(&Case::new(spec.clone()).with_sandbox().container("s", Run::Running, 0).plan()), ["i"]);
    let ended =
        Case::new(spec).with_sandbox().container("s", Run::Exited, 0).container("i", Run::Exited, 0).container("a", Run::Running, 0);
    assert_eq!(names(&ended.plan()), ["s"]);
}

#[test]
fn a_pod_whose_main_containers_succeeded_is_finished_though_a_sidecar_runs() {
    let spec =
        json!({"restartPolicy": "OnFailure", "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let done = Case::new(spec.clone()).with_sandbox().container("s", Run::Running, 0).container("a", Run::Exited, 0);
    assert!(done.plan().finished);
    let failed = Case::new(spec).with_sandbox().container("s", Run::Running, 0).container("a", Run::Exited, 3).plan();
    assert_eq!((failed.finished, names(&failed)), (false, vec!["a"]));
}

#[test]
fn a_crashing_container_waits_for_its_back_off() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]})).with_sandbox().container("a", Run::Exited, 1);
    assert_eq!(case.plan().start[0].attempt, 1);
    let ended = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(999);
    case.backoff.next("a", ended, case.now);
    let plan = case.plan();
    assert!(plan.start.is_empty());
    assert_eq!(plan.waiting["a"].reason, "CrashLoopBackOff");
    assert_eq!(plan.waiting["a"].message, "back-off 10s restarting failed container=a pod=p_n(u)");
    assert_eq!(plan.wake, Some(ended + SignedDuration::from_secs(10)));
}

#[test]
fn a_container_that_fails_its_liveness_probe_is_killed_and_started_again_even_if_it_ends_well() {
    let spec = json!({"restartPolicy": "OnFailure", "containers": [{"name": "a", "livenessProbe": {"terminationGracePeriodSeconds": 3}}]});
    let mut case = Case::new(spec.clone()).with_sandbox().container("a", Run::Running, 0);
    case.health.insert("a-0".into(), Health { started: true, liveness_failed: true, ..Health::default() });
    let plan = case.plan();
    assert_eq!((plan.kill[0].grace, plan.kill[0].restart), (Some(3), true));
    assert_eq!(plan.kill[0].message, "Container a failed liveness probe, will be restarted");
    let mut ended = Case::new(spec).with_sandbox().container("a", Run::Exited, 0);
    ended.to_restart.insert("a-0".into());
    assert_eq!(names(&ended.plan()), ["a"]);
}

#[test]
fn a_changed_image_replaces_the_container() {
    let mut case = Case::new(two()).with_sandbox().container("a", Run::Running, 0).container("b", Run::Running, 0);
    case.pod.spec.as_mut().unwrap().containers[0].image = Some("other".into());
    let plan = case.plan();
    assert_eq!(plan.kill.len(), 1);
    assert_eq!(plan.kill[0].message, "Container a definition changed, will be restarted");
}

#[test]
fn a_lost_sandbox_is_replaced_unless_the_pod_never_restarts() {
    let lost = |policy: &str| {
        let mut case =
            Case::new(json!({"restartPolicy": policy, "containers": [{"name": "a"}]})).with_sandbox().container("a", Run::Exited, 137);
        case.observed.sandboxes[0].ready = false;
        case.plan()
    };
    assert_eq!(lost("Always").sandbox, Some(1));
    assert_eq!((lost("Never").sandbox, lost("Never").finished), (None, true));
}

#[test]
fn ephemeral_containers_start_once() {
    let spec = json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "debug"}]});
    let running = Case::new(spec).with_sandbox().container("a", Run::Running, 0);
    assert_eq!(names(&running.plan()), ["debug"]);
    assert!(running.container("debug", Run::Exited, 1).plan().start.is_empty());
}

#[test]
fn the_restart_count_survives_a_runtime_that_has_forgotten_everything() {
    let mut case = Case::new(json!({"containers": [{"name": "a"}]})).with_sandbox();
    case.pod.status = serde_json::from_value(json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true,
        "restartCount": 4, "containerID": "containerd://x"}]}))
    .unwrap();
    assert_eq!(case.plan().start[0].attempt, 5);
}

#[test]
fn own_restart_rules_come_before_the_policy_of_the_pod() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]});
    assert_eq!(names(&Case::new(spec.clone()).with_sandbox().container("a", Run::Exited, 42).plan()), ["a"]);
    assert!(Case::new(spec).with_sandbox().container("a", Run::Exited, 1).plan().finished);
}

#[test]
fn sidecars_are_ended_last_and_in_reverse_order() {
    let spec = json!({"initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}]});
    let next = |case: &Case| -> Vec<String> {
        next_to_kill(case.pod.spec.as_ref().unwrap(), &case.observed).iter().map(|s| s.name.clone()).collect()
    };
    let all = |main| {
        Case::new(spec.clone()).with_sandbox().container("s1", Run::Running, 0).container("s2", Run::Running, 0).container("a", main, 0)
    };
    assert_eq!(next(&all(Run::Running)), ["a"]);
    assert_eq!(next(&all(Run::Exited)), ["s2"]);
}

#[test]
fn a_running_container_gets_other_resources_or_is_restarted_for_them() {
    let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
    let restarts = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    let spec = json!({"containers": [
        {"name": "a", "resources": cpu("2")}, {"name": "b", "resources": cpu("2"), "resizePolicy": restarts}, {"name": "c", "resources": cpu("1")}]});
    let mut case = Case::new(spec).with_sandbox();
    for name in ["a", "b", "c"] {
        case = case.container(name, Run::Running, 0);
        case.has.insert(format!("{name}-0"), serde_json::from_value(cpu("1")).unwrap());
    }
    let plan = case.plan();
    assert_eq!(plan.resize, ["a-0"]);
    assert_eq!(plan.kill.iter().map(|k| (k.id.as_str(), k.restart)).collect::<Vec<_>>(), [("b-0", true)]);
    case.resize_at = Some(case.now + SignedDuration::from_secs(5));
    let plan = case.plan();
    assert_eq!((plan.resize.len(), plan.wake), (0, case.resize_at), "a refused one is tried again later");
}

//! Pods on a real runtime. `scripts/containerd DIR cargo test -p node --test pods` starts one and names its socket in
//! `NODE_TEST_CRI`; without it there is nothing to run on, and the tests say so.

mod stub;

use client::Informers;
use node::volumes::NoClaims;
use node::{Config, Node, cri};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stub::Stub;
use tokio_util::sync::CancellationToken;

const IMAGE: &str = "localhost/socle/busybox:latest";

struct Bench {
    stub: Stub,
    node: Option<Node>,
    stop: CancellationToken,
    dir: tempfile::TempDir,
    socket: std::path::PathBuf,
}

impl Bench {
    fn new() -> Option<Self> {
        let Some(socket) = std::env::var_os("NODE_TEST_CRI") else {
            assert!(std::env::var_os("SOCLE_TEST_ALL").is_none(), "NODE_TEST_CRI names no container runtime");
            eprintln!("skipped: NODE_TEST_CRI names no container runtime");
            return None;
        };
        let mut bench = Self {
            stub: Stub::default(),
            node: None,
            stop: CancellationToken::new(),
            dir: tempfile::tempdir().unwrap(),
            socket: socket.into(),
        };
        bench.start();
        Some(bench)
    }

    fn start(&mut self) {
        let mut config = Config::new("test-node", self.dir.path().join("kubelet"), self.socket.clone());
        config.pod_logs_dir = self.dir.path().join("pod-logs");
        config.container_logs_dir = self.dir.path().join("container-logs");
        config.node_ips = vec!["127.0.0.1".parse().unwrap()];
        self.stop = CancellationToken::new();
        let runtime = Arc::new(cri::Grpc::new(&self.socket));
        self.node = Some(Node::start(config, &Informers::new(self.stub.client()), runtime, Arc::new(NoClaims), self.stop.clone()));
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(node) = self.node.take() {
            node.join().await;
        }
    }

    fn create(&self, name: &str, spec: Value) -> String {
        let mut spec = spec;
        spec["nodeName"] = json!("test-node");
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        let uid = format!("{name}-{:x}", std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos());
        let metadata = json!({"name": name, "namespace": "default", "uid": uid, "labels": {"app": name}});
        self.stub.create(&path, json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
        path
    }

    fn delete(&self, path: &str, grace: i64) {
        self.stub.change(path, |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        });
    }

    /// Waits for it, and tells what was there last if it does not come.
    async fn until(&self, path: &str, what: &str, check: impl Fn(Option<&Value>) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            let object = self.stub.get(path);
            if check(object.as_ref()) {
                return start.elapsed();
            }
            if start.elapsed() > Duration::from_secs(30) {
                panic!("{what}: {:#}\n{:#?}", object.map(|o| o["status"].clone()).unwrap_or_default(), self.stub.events());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn gone(&self, path: &str) {
        self.until(path, "not gone", |pod| pod.is_none()).await;
    }
}

fn ready(pod: Option<&Value>) -> bool {
    let conditions = pod.and_then(|p| p["status"]["conditions"].as_array());
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

fn phase(wanted: &str) -> impl Fn(Option<&Value>) -> bool {
    move |pod| pod.is_some_and(|p| p["status"]["phase"] == wanted)
}

fn sleeper() -> Value {
    json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"]}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_survives_the_agent_and_is_deleted() {
    let Some(mut bench) = Bench::new() else { return };
    let path = bench.create("plain", sleeper());
    let took = bench.until(&path, "ready", ready).await;
    bench.until("/api/v1/nodes/test-node", "node ready", ready).await;
    bench.until("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/test-node", "lease", |lease| lease.is_some()).await;
    eprintln!("ready after {took:?}, {} patches", bench.stub.status_patches());
    let before = bench.stub.get(&path).unwrap()["status"]["containerStatuses"].clone();
    assert_eq!(before[0]["restartCount"], 0);

    bench.stop().await;
    bench.start();
    let other = bench.create("other", sleeper());
    bench.until(&other, "ready", ready).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.stub.get(&path).unwrap()["status"]["containerStatuses"], before);
    assert!(ready(bench.stub.get(&path).as_ref()));

    bench.delete(&path, 1);
    bench.delete(&other, 1);
    bench.gone(&path).await;
    bench.gone(&other).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_volumes_environment_and_messages_come_together() {
    let Some(mut bench) = Bench::new() else { return };
    bench.stub.create(
        "/api/v1/namespaces/default/configmaps/settings",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}, "data": {"color": "blue"}}),
    );
    let script = "cat /shared/word > /dev/termination-log; echo \" $COLOR $NAME $(cat /conf/color) $0 $(hostname)\" >> /dev/termination-log; id -u >> /dev/termination-log";
    let path = bench.create("parts", json!({
        "restartPolicy": "Never", "hostname": "inside", "securityContext": {"runAsUser": 1234, "fsGroup": 77},
        "volumes": [{"name": "shared", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "settings"}}],
        "initContainers": [{"name": "first", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "echo -n hello > /shared/word"], "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}],
        "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script, "$(NAME)-arg"],
            "env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}}, {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}, {"name": "conf", "mountPath": "/conf"}]}]
    }));
    bench.until(&path, "succeeded", phase("Succeeded")).await;
    let status = bench.stub.get(&path).unwrap()["status"].clone();
    assert_eq!(
        status["containerStatuses"][0]["state"]["terminated"]["message"], "hello blue parts blue parts-arg inside\n1234\n",
        "{status:#}"
    );
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    bench.delete(&path, 0);
    bench.gone(&path).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_and_missing_images_and_probes_are_told() {
    let Some(mut bench) = Bench::new() else { return };
    let crash = bench.create("crash", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "exit 3"]}]}));
    let absent = bench.create("absent", json!({"containers": [{"name": "c", "image": "localhost/none:1", "imagePullPolicy": "Never"}]}));
    let invalid = bench.create("invalid", json!({"containers": [{"name": "c", "image": "Not Valid"}]}));
    let live = bench.create("live", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"],
        "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}}]}));
    let waiting = |reason: &'static str| {
        move |pod: Option<&Value>| pod.is_some_and(|p| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason)
    };
    bench.until(&crash, "crash loop", waiting("CrashLoopBackOff")).await;
    let status = bench.stub.get(&crash).unwrap()["status"]["containerStatuses"][0].clone();
    assert_eq!((&status["lastState"]["terminated"]["exitCode"], &status["restartCount"]), (&json!(3), &json!(1)), "{status:#}");
    bench.until(&absent, "absent", waiting("ErrImageNeverPull")).await;
    bench.until(&invalid, "invalid", waiting("InvalidImageName")).await;
    bench
        .until(&live, "restarted", |pod| pod.is_some_and(|p| p["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1)))
        .await;
    for path in [crash, absent, invalid, live] {
        bench.delete(&path, 1);
        bench.gone(&path).await;
    }
    let events = bench.stub.events();
    for wanted in [
        "Unhealthy: Liveness probe failed",
        "Killing: Container c failed liveness probe, will be restarted",
        "BackOff: Back-off restarting failed container c",
    ] {
        assert!(events.iter().any(|e| e.starts_with(wanted)), "{wanted}: {events:#?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_rewritten_in_running_pods_and_probes_decide_readiness() {
    let Some(mut bench) = Bench::new() else { return };
    let map = "/api/v1/namespaces/default/configmaps/live";
    bench.stub.create(
        map,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "live", "namespace": "default"}, "data": {"word": "one"}}),
    );
    let path = bench.create("reload", json!({
        "terminationGracePeriodSeconds": 1, "volumes": [{"name": "conf", "configMap": {"name": "live"}}],
        "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "mkdir /www; httpd -p 8080 -h /www; sleep 100000"],
            "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
            "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "readinessProbe": {"exec": {"command": ["grep", "-q", "two", "/conf/word"]}, "periodSeconds": 1}}]
    }));
    bench.until(&path, "started", |pod| pod.is_some_and(|p| p["status"]["containerStatuses"][0]["started"] == true)).await;
    assert!(!ready(bench.stub.get(&path).as_ref()));
    bench.stub.change(map, |map| map["data"]["word"] = json!("two"));
    bench.until(&path, "ready", ready).await;
    bench.delete(&path, 1);
    bench.gone(&path).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_hooks_and_sub_paths_keep_their_order() {
    let Some(mut bench) = Bench::new() else { return };
    let note = |word: &str| json!({"exec": {"command": ["sh", "-c", format!("echo {word} >> /shared/part/log")]}});
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let path = bench.create("ordered", json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "volumes": [{"name": "shared", "emptyDir": {}}], "hostAliases": [{"ip": "10.1.1.1", "hostnames": ["far"]}],
        "initContainers": [{"name": "side", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always", "volumeMounts": mounts,
            "command": ["sh", "-c", "trap 'exit 0' TERM; mkdir -p /shared/part; echo side >> /shared/part/log; touch /up; while :; do sleep 0.1; done"],
            "startupProbe": {"exec": {"command": ["test", "-e", "/up"]}, "periodSeconds": 1}}],
        "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
            "volumeMounts": [{"name": "shared", "mountPath": "/shared"}, {"name": "shared", "mountPath": "/sub", "subPathExpr": "$(DIR)"}],
            "env": [{"name": "DIR", "value": "part"}], "lifecycle": {"postStart": note("started")},
            "command": ["sh", "-c", "until grep -q started /sub/log; do sleep 0.05; done; grep -h far /etc/hosts >> /sub/log; cat /sub/log > /dev/termination-log"]}]
    }));
    bench.until(&path, "succeeded", phase("Succeeded")).await;
    let status = bench.stub.get(&path).unwrap()["status"].clone();
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["message"], "side\nstarted\n10.1.1.1\tfar\n", "{status:#}");
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0, "{status:#}");
    bench.delete(&path, 1);
    bench.gone(&path).await;

    let hook = json!({"preStop": {"exec": {"command": ["sh", "-c", "echo stopped > /dev/termination-log; sleep 1"]}}});
    let path = bench.create("hooked", json!({"terminationGracePeriodSeconds": 10, "hostNetwork": true, "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"], "lifecycle": hook}]}));
    bench.until(&path, "ready", ready).await;
    assert_eq!(bench.stub.get(&path).unwrap()["status"]["podIP"], "127.0.0.1");
    bench.delete(&path, 10);
    let told =
        |pod: Option<&Value>| pod.is_none_or(|p| p["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "stopped\n");
    bench.until(&path, "stopped", told).await;
    bench.gone(&path).await;
    bench.stop().await;
}

/// `NODE_TEST_RUNTIME` is a program that takes `stop` and `start`.
#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_restarted_finds_its_pods_undisturbed() {
    let Some(program) = std::env::var_os("NODE_TEST_RUNTIME") else { return };
    let Some(mut bench) = Bench::new() else { return };
    let node = "/api/v1/nodes/test-node";
    let path = bench.create("steady", sleeper());
    let doomed = bench.create("doomed", sleeper());
    bench.until(&path, "ready", ready).await;
    bench.until(&doomed, "ready", ready).await;
    bench.until(node, "node ready", ready).await;
    let before = bench.stub.get(&path).unwrap()["status"].clone();
    assert!(std::process::Command::new(&program).arg("stop").status().unwrap().success());
    bench.until(node, "node not ready", |node| !ready(node)).await;
    bench.delete(&doomed, 1);
    let late = bench.create("late", sleeper());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(std::process::Command::new(&program).arg("start").status().unwrap().success());
    bench.until(node, "node ready", ready).await;
    bench.until(&late, "late ready", ready).await;
    bench.gone(&doomed).await;
    assert_eq!(bench.stub.get(&path).unwrap()["status"], before);
    for path in [path, late] {
        bench.delete(&path, 1);
        bench.gone(&path).await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_pods_at_once_all_run() {
    let Some(mut bench) = Bench::new() else { return };
    let first = bench.create("first", sleeper());
    bench.until(&first, "ready", ready).await;
    let mut single = Vec::new();
    for i in 0..5 {
        let path = bench.create(&format!("one-{i}"), sleeper());
        single.push(bench.until(&path, "ready", ready).await);
        bench.delete(&path, 1);
        bench.gone(&path).await;
    }
    let start = Instant::now();
    let paths: Vec<String> = (0..50).map(|i| bench.create(&format!("many-{i}"), sleeper())).collect();
    for path in &paths {
        bench.until(path, "ready", ready).await;
    }
    eprintln!("one after another {single:?}; fifty after {:?}", start.elapsed());
    for path in paths.iter().chain([&first]) {
        bench.delete(path, 1);
    }
    for path in paths.iter().chain([&first]) {
        bench.gone(path).await;
    }
    bench.stop().await;
}

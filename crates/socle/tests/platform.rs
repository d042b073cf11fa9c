//! The platform end to end: the binary, containerd, kubectl and the reference application. The steps
//! share one cluster and run in order; each is named after what it shows.

mod behaviours;
mod support;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use support::{Cluster, get, root, wait};

/// There is one port 6443, whatever runs the tests side by side.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn the_platform_runs_the_reference_application_and_loses_nothing() {
    if let Some(why) = Cluster::missing() {
        eprintln!("skipped: {why}");
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = Cluster::start(&[]);
    a_second_instance_over_the_same_data_says_so(&cluster);
    kubectl_finds_its_way_around(&cluster);
    kubectl_does_what_it_is_for(&cluster);
    helm_installs_upgrades_rolls_back_and_uninstalls(&cluster);
    the_python_client_and_the_kube_crate_work(&cluster);
    a_bad_manifest_is_refused_in_upstreams_words(&cluster);
    a_deployment_rolls_out_scales_and_rolls_back(&cluster);
    a_crashing_pod_backs_off_and_a_missing_image_is_told(&cluster);
    jobs_complete_and_daemon_sets_cover_the_nodes(&cluster);
    an_owner_takes_its_dependents_along_or_leaves_them(&cluster);
    a_custom_resource_is_a_resource(&cluster);
    an_image_is_pulled_from_a_registry_with_its_password(&cluster);
    a_pod_that_outlives_its_deadline_fails(&cluster);
    a_running_pod_is_resized_in_place_or_told_why_not(&cluster);
    sessions_are_led_over_websocket_and_over_spdy(&cluster);
    behaviours::all(&cluster);
    the_reference_application_answers_and_its_data_outlives_its_pods(&mut cluster);
    containerd_may_die_and_pods_go_on(&cluster);
    a_deleted_namespace_takes_everything_with_it(&cluster);
}

#[test]
fn the_platform_runs_on_etcd_and_finds_everything_again() {
    if let Some(why) = Cluster::missing() {
        eprintln!("skipped: {why}");
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let etcd = support::Etcd::start();
    let flag = format!("etcd={}", etcd.url);
    let mut cluster = Cluster::start(&["--datastore", &flag]);
    a_deployment_rolls_out_scales_and_rolls_back(&cluster);
    cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: default}\ndata: {a: b}\n");
    cluster.kill();
    cluster.up(&["--datastore", &flag]);
    assert_eq!(cluster.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]), "b");
    the_ingress_waits_for_its_port(&mut cluster, &["--datastore", &flag]);
    a_pod_is_ready_as_long_as_its_grpc_health_check_says_so(&cluster, etcd.port);
    a_crashing_pod_backs_off_and_a_missing_image_is_told(&cluster);
}

fn a_second_instance_over_the_same_data_says_so(cluster: &Cluster) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_socle"))
        .args(["up", "--data-dir"])
        .arg(cluster.data())
        .output()
        .expect("socle runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("another socle (pid"), "{said}");
    // Nor does one over other data take this one's network away, coming or going.
    let other = cluster.dir.join("other");
    let socle = |args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_socle")).args(args).arg("--data-dir").arg(&other).output().expect("socle runs")
    };
    let said = String::from_utf8_lossy(&socle(&["up"]).stderr).into_owned();
    assert!(said.contains("a platform runs on this machine already"), "{said}");
    let said = String::from_utf8_lossy(&socle(&["down", "--purge"]).stdout).into_owned();
    assert!(said.contains("the network is left to it"), "{said}");
}

fn kubectl_finds_its_way_around(cluster: &Cluster) {
    cluster.eventually(&["get", "nodes"], |out| out.contains(" Ready "));
    assert!(cluster.kubectl(&["get", "namespaces", "-o", "name"]).contains("namespace/kube-system"));
    assert!(cluster.kubectl(&["api-resources"]).contains("deployments"));
    assert!(cluster.kubectl(&["explain", "pod.spec.containers"]).contains("FIELDS"));
    assert!(cluster.kubectl(&["cluster-info"]).contains("is running at"));
    assert!(cluster.kubectl(&["get", "storageclass"]).contains("(default)"));
    let dry = cluster.kubectl(&["create", "configmap", "dry", "--from-literal=a=b", "--dry-run=server", "-o", "yaml"]);
    assert!(dry.contains("uid:"), "{dry}");
    assert!(cluster.refused(&["get", "configmap", "dry"]).contains("not found"));
}

const BUSYBOX: &str = "localhost/socle/busybox:latest";

/// Kubectl's typed commands speak protobuf, the others JSON.
fn kubectl_does_what_it_is_for(cluster: &Cluster) {
    cluster.kubectl(&["create", "namespace", "tools"]);
    let in_tools = |args: &[&str]| cluster.kubectl(&[&["-n", "tools"], args].concat());
    assert_eq!(in_tools(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    cluster.eventually(&["-n", "tools", "get", "serviceaccount", "default"], |_| true);
    in_tools(&[
        "run",
        "talk",
        "--image",
        BUSYBOX,
        "--image-pull-policy=IfNotPresent",
        "--",
        "sh",
        "-c",
        "while true; do echo tick; sleep 1; done",
    ]);
    in_tools(&["wait", "--for=condition=Ready", "pod/talk", "--timeout=60s"]);
    in_tools(&["label", "pod", "talk", "kept=yes"]);
    in_tools(&["annotate", "pod", "talk", "why=test"]);
    assert_eq!(in_tools(&["get", "pods", "-l", "kept=yes", "-o", "custom-columns=N:.metadata.name", "--no-headers"]).trim(), "talk");
    assert!(in_tools(&["get", "pods", "--field-selector", "status.phase=Running", "-o", "wide"]).contains("talk"));
    cluster.eventually(&["-n", "tools", "logs", "talk", "--tail=1"], |out| out.trim() == "tick");
    let file = cluster.dir.join("copied");
    std::fs::write(&file, "over and back").expect("written");
    in_tools(&["cp", file.to_str().expect("a path"), "talk:/tmp/copied"]);
    assert_eq!(in_tools(&["exec", "talk", "--", "cat", "/tmp/copied"]), "over and back");
    assert!(in_tools(&["describe", "pod", "talk"]).contains("Started"));
    assert!(in_tools(&["events", "--for", "pod/talk"]).contains("Scheduled"));
    in_tools(&["create", "job", "once", "--image", BUSYBOX, "--dry-run=server"]);
    let token = in_tools(&["create", "token", "default"]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    in_tools(&["create", "quota", "few", "--hard=pods=1"]);
    cluster.eventually(&["-n", "tools", "get", "quota", "few"], |out| out.contains("pods: 1/1"));
    let said = cluster.refused(&["-n", "tools", "run", "more", "--image", BUSYBOX]);
    assert!(said.contains("exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"), "{said}");
    in_tools(&["delete", "pod", "talk", "--grace-period=1"]);
    cluster.kubectl(&["delete", "namespace", "tools", "--timeout=60s"]);
}

fn helm_installs_upgrades_rolls_back_and_uninstalls(cluster: &Cluster) {
    let chart = cluster.dir.join("chart");
    std::fs::create_dir_all(chart.join("templates")).expect("a directory");
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: web\nversion: 0.1.0\n").expect("written");
    std::fs::write(chart.join("values.yaml"), "text: one\n").expect("written");
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {text: '{{ .Values.text }}'}\n";
    std::fs::write(chart.join("templates/map.yaml"), template).expect("written");
    let chart = chart.to_str().expect("a path");
    let text = || cluster.kubectl(&["get", "configmap", "release", "-o", "jsonpath={.data.text}"]);
    cluster.helm(&["install", "release", chart, "--wait"]);
    assert_eq!(text(), "one");
    cluster.helm(&["upgrade", "release", chart, "--set", "text=two", "--wait"]);
    assert_eq!(text(), "two");
    cluster.helm(&["rollback", "release", "1", "--wait"]);
    assert_eq!(text(), "one");
    cluster.helm(&["uninstall", "release", "--wait"]);
    assert!(cluster.refused(&["get", "configmap", "release"]).contains("not found"));
}

fn the_python_client_and_the_kube_crate_work(cluster: &Cluster) {
    let mut python = std::process::Command::new(root().join("dist/clients/python/bin/python"));
    let script = root().join("crates/socle/tests/support/client.py");
    let output = python.arg(script).env("KUBECONFIG", cluster.data().join("kubeconfig")).output().expect("python runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "ok", "{out}{err}");
    // `socle status` asks through the kube crate, over TLS like anybody.
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_socle")).args(["status", "--data-dir"]).arg(cluster.data()).output();
    let said = String::from_utf8_lossy(&status.expect("socle runs").stdout).into_owned();
    assert!(said.contains(" Ready\n") && said.contains("running, pid"), "{said}");
}

fn a_bad_manifest_is_refused_in_upstreams_words(cluster: &Cluster) {
    let path = cluster.dir.join("bad.yaml");
    let refused = |manifest: &str| {
        std::fs::write(&path, manifest).expect("written");
        cluster.refused(&["apply", "-f", path.to_str().expect("a path")])
    };
    let said = refused("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b, imagee: c}]}\n");
    assert!(said.contains("unknown field \"spec.containers[0].imagee\""), "{said}");
    let said = refused("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: Bad_Name, image: b}]}\n");
    assert!(said.contains("spec.containers[0].name: Invalid value: \"Bad_Name\""), "{said}");
    let said = refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nowhere}\n");
    assert!(said.contains("namespaces \"nowhere\" not found"), "{said}");
    let said = refused("apiVersion: v1\nkind: [unclosed\n");
    assert!(said.contains("error parsing"), "{said}");
}

fn a_deployment_rolls_out_scales_and_rolls_back(cluster: &Cluster) {
    let manifest = |text: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: localhost/socle/busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'echo {text} > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        ports: [{{containerPort: 8080, name: http}}]
        readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
"
        )
    };
    cluster.apply(&manifest("one"));
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=3"]);
    cluster.eventually(&["get", "deployment", "web"], |out| out.contains("3/3"));
    cluster.apply(&manifest("two").replace("replicas: 2", "replicas: 3"));
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    assert!(cluster.kubectl(&["rollout", "history", "deployment/web"]).contains('2'));
    cluster.kubectl(&["rollout", "undo", "deployment/web"]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    let pods = cluster.eventually(&["get", "pods", "-l", "app=web", "-o", "name"], |out| out.lines().count() == 3);
    let pod = pods.lines().next().expect("a pod");
    assert_eq!(cluster.kubectl(&["exec", pod, "--", "cat", "/tmp/index.html"]).trim(), "one");
    cluster.kubectl(&["expose", "deployment/web", "--port=80", "--target-port=http"]);
    let ip = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    let answers = wait(Duration::from_secs(20), || {
        support::get_from(&format!("{}:80", ip.trim()), "web", "/").is_ok_and(|page| page.contains("one"))
    });
    assert!(answers, "service {ip} does not answer");
    cluster.eventually(&["exec", pod, "--", "nslookup", "web.default.svc.cluster.local"], |out| out.contains(ip.trim()));
    cluster.kubectl(&["delete", "deployment,service", "web"]);
    cluster.eventually(&["get", "pods,replicasets", "-l", "app=web", "-o", "name"], |out| out.trim().is_empty());
}

fn a_crashing_pod_backs_off_and_a_missing_image_is_told(cluster: &Cluster) {
    cluster.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: default}
spec:
  containers:
  - {name: c, image: 'localhost/socle/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo dying; exit 3']}
---
apiVersion: v1
kind: Pod
metadata: {name: absent, namespace: default}
spec:
  containers:
  - {name: c, image: 'localhost/socle/absent:1', imagePullPolicy: Never}
",
    );
    cluster.eventually(&["get", "pod", "crash"], |out| out.contains("CrashLoopBackOff"));
    assert!(cluster.kubectl(&["logs", "crash"]).contains("dying"));
    let code = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
    cluster.eventually(&["get", "pod", "crash", "-o", code], |out| out.trim() == "3");
    cluster.eventually(&["get", "pod", "absent"], |out| out.contains("ErrImageNeverPull"));
    cluster.eventually(&["get", "events", "--field-selector", "involvedObject.name=crash"], |out| out.contains("BackOff"));
    cluster.kubectl(&["delete", "pod", "crash", "absent", "--grace-period=1"]);
}

fn jobs_complete_and_daemon_sets_cover_the_nodes(cluster: &Cluster) {
    let pod = |script: &str, restart: &str| {
        format!(
            "spec:
        restartPolicy: {restart}
        terminationGracePeriodSeconds: 1
        containers:
        - {{name: c, image: '{BUSYBOX}', imagePullPolicy: IfNotPresent, command: [sh, -c, '{script}']}}"
        )
    };
    cluster.apply(&format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: good, namespace: default}}
spec:
  completions: 3
  parallelism: 2
  template:
      {}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: bad, namespace: default}}
spec:
  backoffLimit: 0
  template:
      {}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: often, namespace: default}}
spec:
  schedule: '* * * * *'
  suspend: true
  jobTemplate:
    spec:
      template:
        spec: {{restartPolicy: Never, containers: [{{name: c, image: '{BUSYBOX}', imagePullPolicy: IfNotPresent, command: ['true']}}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: everywhere, namespace: default}}
spec:
  selector: {{matchLabels: {{app: everywhere}}}}
  template:
      metadata: {{labels: {{app: everywhere}}}}
      {}
",
        pod("true", "Never"),
        pod("exit 1", "Never"),
        pod("sleep 1000", "Always"),
    ));
    cluster.kubectl(&["wait", "--for=condition=complete", "job/good", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["get", "job", "good", "-o", "jsonpath={.status.succeeded}"]), "3");
    cluster.kubectl(&["wait", "--for=condition=failed", "job/bad", "--timeout=60s"]);
    let reason = "jsonpath={.status.conditions[?(@.type==\"Failed\")].reason}";
    assert_eq!(cluster.kubectl(&["get", "job", "bad", "-o", reason]), "BackoffLimitExceeded");
    cluster.kubectl(&["create", "job", "now", "--from=cronjob/often"]);
    cluster.kubectl(&["wait", "--for=condition=complete", "job/now", "--timeout=60s"]);
    cluster.kubectl(&["rollout", "status", "daemonset/everywhere", "--timeout=60s"]);
    cluster.kubectl(&["delete", "daemonset/everywhere", "job/good", "job/bad", "job/now", "cronjob/often"]);
    cluster.eventually(&["get", "pods", "-o", "name"], |out| out.trim().is_empty());
}

fn an_owner_takes_its_dependents_along_or_leaves_them(cluster: &Cluster) {
    let map = |name: &str, owner: &str| {
        cluster.kubectl(&["create", "configmap", name]);
        let uid = cluster.kubectl(&["get", "configmap", owner, "-o", "jsonpath={.metadata.uid}"]);
        let owners = format!(
            "{{\"metadata\":{{\"ownerReferences\":[{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"{owner}\",\"uid\":\"{uid}\"}}]}}}}"
        );
        cluster.kubectl(&["patch", "configmap", name, "--type=merge", "-p", &owners]);
    };
    for (owner, dependent, cascade) in [("o1", "d1", "background"), ("o2", "d2", "foreground"), ("o3", "d3", "orphan")] {
        cluster.kubectl(&["create", "configmap", owner]);
        map(dependent, owner);
        cluster.kubectl(&["delete", "configmap", owner, &format!("--cascade={cascade}"), "--timeout=60s"]);
    }
    cluster.eventually(&["get", "configmaps", "-o", "name"], |out| !out.contains("/d1") && !out.contains("/d2") && out.contains("/d3"));
    assert_eq!(cluster.kubectl(&["get", "configmap", "d3", "-o", "jsonpath={.metadata.ownerReferences}"]).trim(), "");
    cluster.kubectl(&["delete", "configmap", "d3"]);
}

fn a_custom_resource_is_a_resource(cluster: &Cluster) {
    cluster.apply(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Sails, type: integer, jsonPath: .spec.sails}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [sails], properties: {sails: {type: integer, minimum: 1}, flag: {type: string, default: none}}}
",
    );
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/boats.example.com", "--timeout=30s"]);
    let boat = |sails: i32| {
        format!("apiVersion: example.com/v1\nkind: Boat\nmetadata: {{name: b, namespace: default}}\nspec: {{sails: {sails}}}\n")
    };
    cluster.eventually(&["get", "boats"], |_| true);
    cluster.apply(&boat(3));
    assert!(cluster.kubectl(&["get", "bt"]).contains('3'));
    assert_eq!(cluster.kubectl(&["get", "boat", "b", "-o", "jsonpath={.spec.flag}"]), "none");
    let path = cluster.dir.join("bad-boat.yaml");
    std::fs::write(&path, boat(0)).expect("written");
    let said = cluster.refused(&["apply", "-f", path.to_str().expect("a path")]);
    assert!(said.contains("spec.sails: Invalid value"), "{said}");
    cluster.kubectl(&["delete", "crd", "boats.example.com", "--timeout=60s"]);
}

fn an_image_is_pulled_from_a_registry_with_its_password(cluster: &Cluster) {
    let registry = support::Registry::start(&cluster.dir);
    let server = format!("127.0.0.1:{}", registry.port);
    let archive = format!("docker-archive:{}", root().join("dist/images/busybox.tar").display());
    let copied = std::process::Command::new("skopeo")
        .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds=anna:geheim", &archive])
        .arg(format!("docker://{server}/busybox:1"))
        .status();
    assert!(copied.expect("skopeo runs").success());
    let secret = |name: &str, password: &str| {
        let (server, password) = (format!("--docker-server={server}"), format!("--docker-password={password}"));
        cluster.kubectl(&["create", "secret", "docker-registry", name, &server, "--docker-username=anna", &password]);
    };
    secret("right", "geheim");
    secret("wrong", "falsch");
    let pod = |name: &str, image: &str, secrets: &str| {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  imagePullSecrets: [{secrets}]\n  \
             containers: [{{name: c, image: '{server}/{image}', imagePullPolicy: Always, command: [sleep, '1000']}}]\n"
        ));
    };
    // The wrong one is tried, and the right one all the same.
    pod("pulled", "busybox:1", "{name: wrong}, {name: right}");
    pod("unknown", "busybox:1", "{name: wrong}");
    pod("missing", "nothing:1", "{name: right}");
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/pulled", "--timeout=60s"]);
    for (name, why) in [("unknown", "401"), ("missing", "not found")] {
        cluster.eventually(&["get", "pod", name], |out| out.contains("ErrImagePull") || out.contains("ImagePullBackOff"));
        let field = format!("involvedObject.name={name}");
        cluster.eventually(&["get", "events", "--field-selector", &field], |out| out.contains("Failed to pull image") && out.contains(why));
    }
    cluster.kubectl(&["delete", "pod", "pulled", "unknown", "missing", "--grace-period=1"]);
}

fn a_pod_that_outlives_its_deadline_fails(cluster: &Cluster) {
    cluster.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: late, namespace: default}
spec:
  activeDeadlineSeconds: 2
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: 'localhost/socle/busybox:latest', imagePullPolicy: IfNotPresent, command: [sleep, '1000']}]
",
    );
    let status = ["get", "pod", "late", "-o", "jsonpath={.status.phase} {.status.reason}"];
    cluster.eventually(&status, |out| out == "Failed DeadlineExceeded");
    cluster.kubectl(&["delete", "pod", "late"]);
}

/// etcd answers `grpc.health.v1.Health`; a pod on the node's own network is asked where it listens.
fn a_pod_is_ready_as_long_as_its_grpc_health_check_says_so(cluster: &Cluster, serving: u16) {
    let pod = |name: &str, port: u16| {
        cluster.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: localhost/socle/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    readinessProbe: {{grpc: {{port: {port}}}, periodSeconds: 1, failureThreshold: 1}}
"
        ));
    };
    pod("healthy", serving);
    pod("silent", 1);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/healthy", "--timeout=60s"]);
    cluster.eventually(&["get", "events", "--field-selector", "involvedObject.name=silent"], |out| out.contains("Readiness probe failed"));
    assert!(cluster.kubectl(&["get", "pod", "silent"]).contains("0/1"));
    cluster.kubectl(&["delete", "pod", "healthy", "silent"]);
}

fn a_running_pod_is_resized_in_place_or_told_why_not(cluster: &Cluster) {
    let memory =
        "if [ -e /sys/fs/cgroup/memory.max ]; then cat /sys/fs/cgroup/memory.max; else cat /sys/fs/cgroup/memory/memory.limit_in_bytes; fi";
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: sized, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: localhost/socle/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 100m, memory: 32Mi}}
    resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]
",
    );
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/sized", "--timeout=60s"]);
    let resize = |resources: &str| {
        let patch = format!(r#"{{"spec":{{"containers":[{{"name":"c","resources":{resources}}}]}}}}"#);
        cluster.kubectl(&["patch", "pod", "sized", "--subresource", "resize", "-p", &patch]);
    };
    let get = |path: &str| cluster.kubectl(&["get", "pod", "sized", "-o", &format!("jsonpath={{.status.{path}}}")]);
    let has = |path: &str, wanted: &str| {
        let query = format!("jsonpath={{.status.{path}}}");
        cluster.eventually(&["get", "pod", "sized", "-o", &query], |out| out == wanted);
    };
    let done =
        || cluster.eventually(&["get", "pod", "sized", "-o", "jsonpath={.status.conditions[*].type}"], |out| !out.contains("Resize"));
    // Memory as it runs.
    resize(r#"{"requests":{"memory":"48Mi"},"limits":{"memory":"48Mi"}}"#);
    has("containerStatuses[0].resources.limits.memory", "48Mi");
    done();
    assert_eq!(cluster.kubectl(&["exec", "sized", "--", "sh", "-c", memory]).trim(), (48 << 20).to_string());
    assert_eq!(get("containerStatuses[0].restartCount"), "0");
    // More than the node has is never given, and what runs stays as it is.
    resize(r#"{"requests":{"memory":"9000Gi"},"limits":{"memory":"9000Gi"}}"#);
    has("conditions[?(@.type=='PodResizePending')].reason", "Infeasible");
    assert_eq!(get("containerStatuses[0].allocatedResources.memory"), "48Mi");
    resize(r#"{"requests":{"memory":"48Mi"},"limits":{"memory":"48Mi"}}"#);
    done();
    // Cpu by a restart, as its policy says.
    resize(r#"{"limits":{"cpu":"150m"}}"#);
    has("containerStatuses[0].resources.limits.cpu", "150m");
    has("containerStatuses[0].restartCount", "1");
    done();
    cluster.eventually(&["get", "events", "--field-selector", "involvedObject.name=sized"], |out| {
        ["ResizeStarted", "ResizeInfeasible", "ResizeCompleted"].iter().all(|reason| out.contains(reason))
    });
    // Nor does the node take a pod that somebody else has put there and that does not fit.
    cluster.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: huge, namespace: default}}
spec:
  nodeName: {}
  containers: [{{name: c, image: localhost/socle/busybox:latest, resources: {{requests: {{cpu: 9k}}}}}}]
",
        cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
    ));
    cluster.eventually(&["get", "pod", "huge", "-o", "jsonpath={.status.phase} {.status.reason}"], |out| out == "Failed OutOfcpu");
    cluster.kubectl(&["delete", "pod", "sized", "huge"]);
}

fn sessions_are_led_over_websocket_and_over_spdy(cluster: &Cluster) {
    let run = ["run", "session", "--image=localhost/socle/busybox:latest", "--image-pull-policy=IfNotPresent", "--restart=Never"];
    cluster.kubectl(&[&run[..], &["--", "sleep", "1000"]].concat());
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/session", "--timeout=60s"]);
    let exec = ["exec", "session", "-v=8", "--", "sh", "-c", "echo out; exit 3"];
    for (websocket, told) in [("true", "The subprotocol is v5.channel.k8s.io"), ("false", "Upgrade: SPDY/3.1")] {
        let output = cluster.kubectl_with(&[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket)], &exec);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(out == "out\n" && output.status.code() == Some(3), "{output:?}");
        assert!(err.contains(told) && !err.contains("fallback"), "{err}");
    }
    cluster.kubectl(&["delete", "pod", "session", "--now"]);
}

/// A port of the ingress that another process holds is told, waited for and taken when it is free.
fn the_ingress_waits_for_its_port(cluster: &mut Cluster, flags: &[&str]) {
    let since = ["get", "nodes", "-o", "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].lastTransitionTime}"];
    let before = cluster.kubectl(&since);
    cluster.kill();
    let holder = std::net::TcpListener::bind("0.0.0.0:80").expect("the port is free while socle is away");
    cluster.up(flags);
    assert!(cluster.log().contains("the ingress waits for 0.0.0.0:80"), "{}", cluster.log());
    assert!(cluster.kubectl(&["get", "nodes"]).contains(" Ready "));
    assert_eq!(cluster.kubectl(&since), before, "a restart is not told as an absence");
    drop(holder);
    assert!(wait(Duration::from_secs(30), || get("nobody.localhost", "/").is_err_and(|answer| answer.starts_with("HTTP/1.1 404"))));
}

/// It is started again, and what ran under it never noticed.
fn containerd_may_die_and_pods_go_on(cluster: &Cluster) {
    let running = ["-n", "shop", "get", "pods", "-o", "jsonpath={range .items[*]}{.status.containerStatuses[0].containerID}{\"\\n\"}{end}"];
    let before = cluster.kubectl(&running);
    let log = cluster.log();
    let run = log.split("answers on ").filter_map(|part| part.split_once("/containerd.sock")).map(|(run, _)| run).last().expect("told");
    let ours = |line: &str| line.starts_with("containerd ") && line.contains(&format!("{run}/containerd.toml"));
    let pids = support::processes(ours);
    assert_eq!(pids.len(), 1, "{pids:?}");
    assert!(std::process::Command::new("kill").args(["-9", &pids[0]]).status().expect("kill runs").success());
    let again = wait(Duration::from_secs(30), || {
        let now = support::processes(ours);
        now.len() == 1 && now != pids
    });
    assert!(again, "containerd was not started again");
    cluster.eventually(&["get", "nodes"], |out| out.contains(" Ready "));
    visits_in_time();
    assert_eq!(cluster.kubectl(&running), before);
}

/// The count that the page shows.
fn visits() -> Result<u64, String> {
    let page = get("shop.localhost", "/")?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let after = |mark: &str| page.split(mark).nth(1).and_then(|rest| digits(rest.trim_start_matches(|c: char| !c.is_ascii_digit())));
    after("visits").or_else(|| after("Visits")).ok_or(page.clone())
}

fn visits_in_time() -> u64 {
    let mut last = String::new();
    let mut count = 0;
    let answered = wait(Duration::from_secs(90), || match visits() {
        Ok(n) => {
            count = n;
            true
        }
        Err(error) => {
            last = error;
            false
        }
    });
    assert!(answered, "no page: {last}");
    count
}

fn the_reference_application_answers_and_its_data_outlives_its_pods(cluster: &mut Cluster) {
    let manifests = root().join("examples/manifests");
    cluster.kubectl(&["apply", "-f", manifests.to_str().expect("a path")]);
    for workload in ["statefulset/db", "deployment/app-a", "deployment/app-b"] {
        cluster.kubectl(&["-n", "shop", "rollout", "status", workload, "--timeout=120s"]);
    }
    let first = visits_in_time();
    let second = visits_in_time();
    assert!(second > first, "{first} then {second}");

    // Pods die, Services stay.
    cluster.kubectl(&["-n", "shop", "delete", "pods", "--all", "--wait=false"]);
    cluster.kill();
    cluster.up(&[]);
    let third = visits_in_time();
    assert!(third > second, "the count went back from {second} to {third}");

    // A restart of socle leaves running containers alone.
    for workload in ["statefulset/db", "deployment/app-a", "deployment/app-b"] {
        cluster.kubectl(&["-n", "shop", "rollout", "status", workload, "--timeout=120s"]);
    }
    let running = [
        "-n",
        "shop",
        "get",
        "pods",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}",
    ];
    cluster.eventually(&["-n", "shop", "get", "pods", "--no-headers"], |out| {
        out.lines().count() == 4 && out.lines().all(|l| l.contains("1/1"))
    });
    let before = cluster.kubectl(&running);
    cluster.kill();
    cluster.up(&[]);
    let fourth = visits_in_time();
    assert!(fourth > third, "the count went back from {third} to {fourth}");
    assert_eq!(cluster.kubectl(&running), before, "containers were touched by the restart");
}

fn a_deleted_namespace_takes_everything_with_it(cluster: &Cluster) {
    cluster.kubectl(&["delete", "namespace", "shop", "--timeout=90s"]);
    assert!(cluster.refused(&["get", "namespace", "shop"]).contains("not found"));
    cluster.eventually(&["get", "persistentvolumes", "-o", "name"], |out| out.trim().is_empty());
}

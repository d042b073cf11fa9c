//! A guestbook of three tiers: a front that writes to a primary and reads from replicas, which copy the primary.

use super::{BUSYBOX, Space};
use crate::support::{Cluster, wait};
use std::time::Duration;

/// One component: a script that answers, what it runs beside, and how often. They find each other by the names of
/// their services.
struct Component {
    name: &'static str,
    labels: &'static str,
    port: u16,
    replicas: u8,
    beside: &'static str,
    set: &'static str,
    get: &'static str,
}

const COMPONENTS: [Component; 3] = [
    Component {
        name: "replica",
        labels: "{app: store, role: replica, tier: backend}",
        port: 6379,
        replicas: 2,
        beside: "while :; do wget -q -O /tmp/new http://primary:6379/cgi-bin/guestbook?cmd=get && mv /tmp/new /tmp/copy; sleep 1; done &",
        set: "echo not here",
        get: "cat /tmp/copy",
    },
    Component {
        name: "primary",
        labels: "{app: store, role: primary, tier: backend}",
        port: 6379,
        replicas: 1,
        beside: "",
        set: r#"printf %s "${QUERY_STRING##*value=}" > /tmp/entry; printf '{"message":"Updated"}'"#,
        get: r#"printf '{"data":"%s"}' "$(cat /tmp/entry)""#,
    },
    Component {
        name: "frontend",
        labels: "{app: guestbook, tier: frontend}",
        port: 80,
        replicas: 3,
        beside: "",
        set: r#"wget -q -O - "http://primary:6379/cgi-bin/guestbook?$QUERY_STRING""#,
        get: r#"wget -q -O - "http://replica:6379/cgi-bin/guestbook?$QUERY_STRING""#,
    },
];

impl Component {
    fn script(&self) -> String {
        let Self { name, set, get, .. } = self;
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data:
  guestbook: |
    #!/bin/sh
    printf 'Content-Type: application/json\\r\\n\\r\\n'
    case \"$QUERY_STRING\" in *cmd=set*) {set};; *) {get};; esac
"
        )
    }

    fn service(&self) -> String {
        let Self { name, labels, port, .. } = self;
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {labels}}}\n\
             spec: {{ports: [{{port: {port}}}], selector: {labels}}}\n"
        )
    }

    fn deployment(&self) -> String {
        let Self { name, labels, port, replicas, beside, .. } = self;
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {labels}}}
  template:
    metadata: {{labels: {labels}}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{{name: script, configMap: {{name: {name}, defaultMode: 0755}}}}]
      containers:
      - name: {name}
        image: {BUSYBOX}
        imagePullPolicy: IfNotPresent
        command: [sh, -c]
        args:
        - |
          {beside}
          exec httpd -f -p {port} -h /www
        ports: [{{containerPort: {port}}}]
        resources: {{requests: {{cpu: 10m, memory: 10Mi}}}}
        volumeMounts: [{{name: script, mountPath: /www/cgi-bin}}]
"
        )
    }
}

/// Behaviour: [sig-cli] Kubectl client Guestbook application should create and stop a working application
pub fn an_application_works_until_it_is_stopped(cluster: &Cluster) {
    let space = Space::new(cluster, "guestbook");
    let manifests: Vec<String> = [Component::service, Component::script, Component::deployment]
        .iter()
        .flat_map(|manifest| COMPONENTS.iter().map(manifest))
        .collect();
    for manifest in &manifests {
        space.with("create", manifest, &[]);
    }
    let phases = ["get", "pods", "-l", "app=guestbook,tier=frontend", "-o", "jsonpath={.items[*].status.phase}"];
    space.eventually(&phases, |out| out == "Running Running Running");
    // Through its service, by way of the API server.
    let answers = |query: &str, wanted: &str| {
        let path = format!("/api/v1/namespaces/{}/services/frontend/proxy/cgi-bin/guestbook?{query}", space.name);
        space.eventually(&["get", "--raw", &path], |out| out == wanted);
    };
    answers("cmd=get&key=messages&value=", r#"{"data":""}"#);
    answers("cmd=set&key=messages&value=TestEntry", r#"{"message":"Updated"}"#);
    answers("cmd=get&key=messages&value=", r#"{"data":"TestEntry"}"#);
    // And from pods, by each replica: what one front wrote all of them read.
    let replicas = space.kubectl(&["get", "pods", "-l", "role=replica", "-o", "name"]);
    assert_eq!(replicas.lines().count(), 2, "{replicas}");
    for replica in replicas.lines() {
        space.eventually(&["exec", replica, "--", "cat", "/tmp/copy"], |out| out == r#"{"data":"TestEntry"}"#);
    }
    for manifest in &manifests {
        space.with("delete", manifest, &["--grace-period=0", "--force"]);
    }
    space.eventually(&["get", "pods,services,deployments,replicasets", "-o", "name"], |out| out.trim().is_empty());
    let path = format!("/api/v1/namespaces/{}/services/frontend/proxy/", space.name);
    let stopped = wait(Duration::from_secs(30), || !cluster.try_kubectl(&["get", "--raw", &path]).status.success());
    assert!(stopped, "something still answers");
}

//! The tokens of service accounts, as pods find them.

use super::{BUSYBOX, Space};
use crate::support::Cluster;
use serde_json::{Value, json};

const MOUNTED: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the API server says of a token.
fn review(space: &Space, token: &str) -> Value {
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {"name": ""}, "spec": {"token": token}});
    let answer = space.with("create", &review.to_string(), &["-o", "json"]);
    serde_json::from_str::<Value>(&answer).expect("JSON")["status"].clone()
}

/// Who a token is for, and the pod and the node that it is bound to.
fn identifies(space: &Space, token: &str, account: &str, pod: &str) {
    let status = review(space, token);
    assert!(status["authenticated"] == true && status.get("error").is_none(), "{status}");
    let user = &status["user"];
    assert_eq!(user["username"], format!("system:serviceaccount:{}:{account}", space.name));
    for group in ["system:authenticated", "system:serviceaccounts", &format!("system:serviceaccounts:{}", space.name)] {
        assert!(user["groups"].as_array().is_some_and(|groups| groups.iter().any(|g| g == group)), "{user}");
    }
    let get = |args: &[&str]| space.kubectl(&[&["get"], args].concat());
    let node = get(&["pod", pod, "-o", "jsonpath={.spec.nodeName}"]);
    let extra = |name: &str| user["extra"][format!("authentication.kubernetes.io/{name}")].clone();
    assert_eq!(extra("pod-name"), json!([pod]));
    assert_eq!(extra("pod-uid"), json!([get(&["pod", pod, "-o", "jsonpath={.metadata.uid}"])]));
    assert_eq!(extra("node-name"), json!([node]));
    assert_eq!(extra("node-uid"), json!([get(&["node", &node, "-o", "jsonpath={.metadata.uid}"])]));
    let credential = extra("credential-id");
    assert!(credential.as_array().is_some_and(|c| c.len() == 1 && c[0].as_str().is_some_and(|c| c.starts_with("JTI="))), "{user}");
}

/// Behaviour: [sig-auth] ServiceAccounts should mount an API token into pods
pub fn a_token_is_mounted_into_pods(cluster: &Cluster) {
    let space = Space::new(cluster, "token-mounted");
    space.kubectl(&["create", "serviceaccount", "mount-test"]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"}, "spec": {
        "serviceAccountName": "mount-test", "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
        "containers": [{"name": "test", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"]}]}});
    space.with("create", &pod.to_string(), &[]);
    space.kubectl(&["wait", "--for=condition=Ready", "pod/reader", "--timeout=60s"]);
    let mounted = |file: &str| space.kubectl(&["exec", "reader", "-c", "test", "--", "cat", &format!("{MOUNTED}/{file}")]);
    assert_eq!(mounted("namespace"), space.name);
    assert_eq!(mounted("ca.crt"), space.kubectl(&["get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}"]));
    identifies(&space, &mounted("token"), "mount-test", "reader");
}

/// Behaviour: [sig-auth] ServiceAccounts should mount projected service account token
pub fn a_token_is_projected(cluster: &Cluster) {
    let space = Space::new(cluster, "token-projected");
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"}, "spec": {
        "restartPolicy": "Never", "volumes": [{"name": "projected", "projected": {"sources": [source]}}],
        "containers": [{"name": "test", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["cat", "/projected/token"],
            "volumeMounts": [{"name": "projected", "mountPath": "/projected", "readOnly": true}]}]}});
    space.with("create", &pod.to_string(), &[]);
    space.eventually(&["get", "pod", "reader", "-o", "jsonpath={.status.phase}"], |phase| phase == "Succeeded");
    let token = space.kubectl(&["logs", "reader"]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    identifies(&space, token.trim(), "default", "reader");
}

//! Pods that are made and changed.

use super::Kubectl;
use crate::plane::until;
use crate::space::Space;
use serde_json::Value;

const FIRST: &str = "none.example/first:1";
const SECOND: &str = "none.example/second:1";

fn image(space: &Space, pod: &str) -> String {
    let pod = space.get("pods", pod).expect("the pod");
    let containers = pod["spec"]["containers"].as_array().expect("containers");
    assert_eq!(containers.len(), 1, "{pod}");
    containers[0]["image"].as_str().unwrap_or_default().to_string()
}

/// Behaviour: [sig-cli] Kubectl client Kubectl run pod should create a pod from an image when restart is Never
#[test]
fn a_pod_is_made_from_an_image() {
    let Some(kubectl) = Kubectl::new("kubectl-run") else { return };
    kubectl.run(&["run", "web", "--restart=Never", "--image", FIRST]);
    assert_eq!(image(&kubectl.space, "web"), FIRST);
    assert_eq!(kubectl.run(&["get", "pod", "web", "-o", "jsonpath={.spec.restartPolicy}"]), "Never");
    assert_eq!(kubectl.run(&["delete", "pods", "web"]).trim(), format!("pod \"web\" deleted from {} namespace", kubectl.space.name));
    assert_eq!(kubectl.space.get("pods", "web"), None);
}

/// Behaviour: [sig-cli] Kubectl client Kubectl replace should update a single-container pod's image
#[test]
fn a_replaced_pod_has_the_new_image() {
    let Some(kubectl) = Kubectl::new("kubectl-replace") else { return };
    kubectl.run(&["run", "web", "--image", FIRST, "--labels=run=web"]);
    kubectl.run(&["wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", "run=web", "--timeout=60s"]);
    let object = kubectl.run(&["get", "pod", "web", "-o", "json"]);
    let uid = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["metadata"]["uid"].clone();
    kubectl.feed(&["replace", "-f", "-"], &object.replacen(FIRST, SECOND, 1));
    assert_eq!(image(&kubectl.space, "web"), SECOND);
    // By force it is another pod.
    let replaced = kubectl.run(&["get", "pod", "web", "-o", "json"]);
    assert_eq!(uid(&replaced), uid(&object));
    let fresh = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"containers":[{"name":"web","image":"none.example/third:1"}]}}"#;
    kubectl.feed(&["replace", "--force", "-f", "-"], fresh);
    assert_eq!(image(&kubectl.space, "web"), "none.example/third:1");
    assert_ne!(uid(&kubectl.run(&["get", "pod", "web", "-o", "json"])), uid(&object));
}

/// Behaviour: [sig-cli] Kubectl client Kubectl server-side dry-run should check if kubectl can dry-run update Pods
#[test]
fn a_dry_run_changes_nothing() {
    let Some(kubectl) = Kubectl::new("kubectl-dry-run") else { return };
    kubectl.run(&["run", "web", "--image", FIRST, "--labels=run=web"]);
    let patch = format!(r#"{{"spec":{{"containers":[{{"name":"web","image":"{SECOND}"}}]}}}}"#);
    let dry = kubectl.run(&["patch", "pod", "web", "-p", &patch, "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}"]);
    assert_eq!(dry, SECOND);
    assert_eq!(image(&kubectl.space, "web"), FIRST);
}

/// Behaviour: [sig-cli] Kubectl client Kubectl label should update the label on a resource
#[test]
fn a_label_comes_and_goes() {
    let Some(kubectl) = Kubectl::new("kubectl-label") else { return };
    kubectl.run(&["run", "web", "--image", FIRST]);
    let selected = || kubectl.run(&["get", "pods", "-l", "testing-label=testing-label-value", "-o", "name"]);
    let shown = || kubectl.run(&["get", "pod", "web", "-L", "testing-label"]);
    kubectl.run(&["label", "pods", "web", "testing-label=testing-label-value"]);
    assert!(shown().contains("testing-label-value"), "{}", shown());
    assert_eq!(selected().trim(), "pod/web");
    kubectl.run(&["label", "pods", "web", "testing-label-"]);
    assert!(!shown().contains("testing-label-value"), "{}", shown());
    assert_eq!(selected().trim(), "");
}

/// Behaviour: [sig-cli] Kubectl client Kubectl diff should check if kubectl diff finds a difference for Deployments
#[test]
fn a_difference_is_shown_before_it_is_made() {
    let Some(kubectl) = Kubectl::new("kubectl-diff") else { return };
    let manifest = |image: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: '{image}', ports: [{{containerPort: 80}}]}}]}}
"
        )
    };
    kubectl.feed(&["create", "-f", "-"], &manifest(FIRST));
    // What the controller writes meanwhile is a difference too.
    until("nothing differs", || {
        let same = kubectl.output(&["diff", "-f", "-"], &manifest(FIRST));
        if same.status.code() == Some(0) && same.stdout.is_empty() { Ok(()) } else { Err(format!("{same:?}")) }
    });
    let other = kubectl.output(&["diff", "-f", "-"], &manifest(SECOND));
    let shown = String::from_utf8_lossy(&other.stdout);
    let line = |sign: char, image: &str| shown.lines().any(|l| l.starts_with(sign) && l.contains(image));
    assert!(other.status.code() == Some(1) && line('-', FIRST) && line('+', SECOND), "{other:?}");
    kubectl.feed(&["delete", "-f", "-"], &manifest(FIRST));
}

//! The end of a namespace.

use crate::space::{Space, pod};
use serde_json::{Value, json};

fn running(pod: Option<&Value>) -> bool {
    pod.is_some_and(|p| p["status"]["phase"] == "Running")
}

/// The namespace goes, and one of its name has nothing of it.
fn starts_anew(space: Space, resource: &str) {
    let name = space.name.clone();
    space.remove();
    space.wait_until_gone();
    let space = Space::new(&name);
    assert_eq!((space.get(resource, "old"), space.list(resource)), (None, Vec::new()));
}

/// Behaviour: [sig-api-machinery] Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted
#[test]
fn a_new_namespace_of_the_same_name_has_no_old_pods() {
    let space = Space::new("namespace-pods");
    space.create("pods", &pod("old"));
    space.wait("pods", "old", running);
    starts_anew(space, "pods");
}

/// Behaviour: [sig-api-machinery] Namespaces [Serial] should ensure that all services are removed when a namespace is deleted
#[test]
fn a_new_namespace_of_the_same_name_has_no_old_services() {
    let space = Space::new("namespace-services");
    let service = json!({"metadata": {"name": "old"}, "spec": {"selector": {"foo": "bar"}, "ports": [{"port": 80, "targetPort": 80}]}});
    space.create("services", &service);
    starts_anew(space, "services");
}

/// Behaviour: [sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first
#[test]
fn what_pods_may_use_goes_after_them() {
    let space = Space::new("namespace-order");
    let mut held = pod("held");
    held["metadata"]["finalizers"] = json!(["e2e.example.com/finalizer"]);
    space.create("pods", &held);
    space.wait("pods", "held", running);
    space.create("configmaps", &json!({"metadata": {"name": "used"}, "data": {"key": "value"}}));
    space.remove();
    let looked = |namespace: &Value| {
        let conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let told = |kind: &str| conditions.iter().find(|c| c["type"] == kind).map(|c| c["status"].clone());
        told("NamespaceDeletionContentFailure").is_some() && told("NamespaceFinalizersRemaining") == Some(json!("True"))
    };
    crate::plane::until("the namespace has been looked at", || {
        let namespace = space.itself().expect("it waits for the pod");
        if namespace["status"]["phase"] == "Terminating" && looked(&namespace) { Ok(()) } else { Err(namespace.to_string()) }
    });
    let pod = space.get("pods", "held").expect("its finalizer holds it");
    assert!(pod["metadata"].get("deletionTimestamp").is_some(), "{pod}");
    assert!(space.get("configmaps", "used").is_some_and(|c| c["metadata"].get("deletionTimestamp").is_none()));
    space.patch("pods", "held", &json!({"metadata": {"finalizers": null}}));
    space.wait("pods", "held", |pod| pod.is_none());
    space.wait_until_gone();
}

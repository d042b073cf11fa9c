//! What goes with its owner, before it, or stays behind.

use crate::space::{Space, name, pod};
use serde_json::{Value, json};

fn controller(name: &str, replicas: usize) -> Value {
    let labels = json!({"gctest": name});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("x")["spec"]});
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": labels, "template": template}})
}

fn deployment(name: &str) -> Value {
    let labels = json!({"gctest": name});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("x")["spec"]});
    json!({"metadata": {"name": name}, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}})
}

fn policy(policy: &str) -> Value {
    json!({"propagationPolicy": policy})
}

/// A replication controller all of whose pods are there.
fn full_controller(space: &Space, name: &str, replicas: usize) -> Value {
    space.create("replicationcontrollers", &controller(name, replicas));
    let full = |rc: Option<&Value>| rc.is_some_and(|rc| rc["status"]["replicas"] == replicas);
    space.wait("replicationcontrollers", name, full).expect("a replication controller")
}

fn going(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

/// Waits until the collector has seen, and acted upon, the end of everything that ended before: the end of another
/// owner of the same kind comes after them, and takes a pod along.
fn collected(space: &Space) {
    let owner = space.create("replicationcontrollers", &controller("last", 0));
    let mut dependent = pod("last");
    let reference = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "last", "uid": owner["metadata"]["uid"]});
    dependent["metadata"]["ownerReferences"] = json!([reference]);
    space.create("pods", &dependent);
    space.delete("replicationcontrollers", &owner, &policy("Background"));
    space.wait("pods", "last", |pod| pod.is_none());
}

/// Behaviour: [sig-api-machinery] Garbage collector should delete pods created by rc when not orphaning
#[test]
fn pods_go_after_their_controller() {
    let space = Space::new("gc-background");
    let rc = space.create("replicationcontrollers", &controller("few", 2));
    // Not all of them: the controller may still be creating some when it goes.
    space.wait_list("pods", |pods| !pods.is_empty());
    space.delete("replicationcontrollers", &rc, &policy("Background"));
    space.wait_list("replicationcontrollers", |rcs| rcs.is_empty());
    space.wait_list("pods", |pods| pods.is_empty());
}

/// Behaviour: [sig-api-machinery] Garbage collector should orphan pods created by rc if delete options say so
#[test]
fn orphaned_pods_stay() {
    let space = Space::new("gc-orphan");
    let rc = full_controller(&space, "many", 10);
    space.delete("replicationcontrollers", &rc, &policy("Orphan"));
    space.wait_list("replicationcontrollers", |rcs| rcs.is_empty());
    collected(&space);
    let pods = space.list("pods");
    assert_eq!(pods.len(), 10);
    assert!(pods.iter().all(|p| !going(p) && p["metadata"].get("ownerReferences").is_none()), "{pods:?}");
}

/// Behaviour: [sig-api-machinery] Garbage collector should delete RS created by deployment when not orphaning
#[test]
fn sets_and_pods_go_after_their_deployment() {
    let space = Space::new("gc-deployment");
    let owner = space.create("apps/deployments", &deployment("web"));
    // With pods, so that their going is seen.
    space.wait_list("apps/replicasets", |sets| sets.len() == 1 && sets[0]["status"]["replicas"] == 2);
    space.delete("apps/deployments", &owner, &policy("Background"));
    for resource in ["apps/deployments", "apps/replicasets", "pods"] {
        space.wait_list(resource, |objects| objects.is_empty());
    }
}

/// Behaviour: [sig-api-machinery] Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan
#[test]
fn an_orphaned_set_stays_with_its_pods() {
    let space = Space::new("gc-deployment-orphan");
    let owner = space.create("apps/deployments", &deployment("web"));
    let whole = |sets: &[Value]| sets.len() == 1 && sets[0]["status"]["replicas"] == 2;
    let sets = space.wait_list("apps/replicasets", whole);
    space.delete("apps/deployments", &owner, &policy("Orphan"));
    space.wait_list("apps/deployments", |deployments| deployments.is_empty());
    collected(&space);
    let left = space.list("apps/replicasets");
    assert_eq!(left.iter().map(name).collect::<Vec<_>>(), sets.iter().map(name).collect::<Vec<_>>());
    assert!(!going(&left[0]) && left[0]["metadata"].get("ownerReferences").is_none(), "{left:?}");
    let pods = space.list("pods");
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|p| !going(p) && p["metadata"]["ownerReferences"][0]["uid"] == left[0]["metadata"]["uid"]), "{pods:?}");
}

/// Behaviour: [sig-api-machinery] Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so
#[test]
fn an_owner_in_the_foreground_goes_last() {
    let space = Space::new("gc-foreground");
    let rc = full_controller(&space, "many", 10);
    // One pod is held, and with it its owner.
    let held = space.list("pods")[0].clone();
    space.patch("pods", name(&held), &json!({"metadata": {"finalizers": ["example.com/held"]}}));
    space.delete("replicationcontrollers", &rc, &policy("Foreground"));
    space.wait_list("pods", |pods| pods.len() == 1 && name(&pods[0]) == name(&held) && going(&pods[0]));
    let rc = space.get("replicationcontrollers", "many").expect("it waits for the pod");
    assert!(going(&rc) && rc["metadata"]["finalizers"] == json!(["foregroundDeletion"]), "{rc}");
    space.patch("pods", name(&held), &json!({"metadata": {"finalizers": null}}));
    space.wait("replicationcontrollers", "many", |rc| rc.is_none());
    assert_eq!(space.list("pods").len(), 0);
}

/// Behaviour: [sig-api-machinery] Garbage collector should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted
#[test]
fn pods_with_another_owner_stay_with_it() {
    let space = Space::new("gc-owners");
    let leaving = full_controller(&space, "leaving", 10);
    let staying = space.create("replicationcontrollers", &controller("staying", 0));
    let reference = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "staying", "uid": staying["metadata"]["uid"]});
    let pods = space.list("pods");
    for pod in &pods[..5] {
        let pod = space.patch("pods", name(pod), &json!({"metadata": {"ownerReferences": [reference]}}));
        assert_eq!(pod["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(2), "{pod}");
    }
    space.delete("replicationcontrollers", &leaving, &policy("Foreground"));
    space.wait("replicationcontrollers", "leaving", |rc| rc.is_none());
    collected(&space);
    let left = space.list("pods");
    assert_eq!(left.len(), 5);
    for pod in &left {
        assert!(!going(pod), "{pod}");
        let owners = pod["metadata"]["ownerReferences"].as_array().expect("owners");
        assert!(owners.len() == 1 && owners[0]["uid"] == staying["metadata"]["uid"], "{pod}");
    }
}

/// Behaviour: [sig-api-machinery] Garbage collector should not be blocked by dependency circle
#[test]
fn a_circle_of_owners_goes_as_a_whole() {
    let space = Space::new("gc-circle");
    let pods: Vec<Value> = ["one", "two", "three"].iter().map(|name| space.create("pods", &pod(name))).collect();
    for (index, object) in pods.iter().enumerate() {
        let owner = &pods[(index + 2) % 3];
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": name(owner), "uid": owner["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true});
        space.patch("pods", name(object), &json!({"metadata": {"ownerReferences": [reference]}}));
    }
    space.delete("pods", &pods[0], &policy("Foreground"));
    space.wait_list("pods", |pods| pods.is_empty());
}

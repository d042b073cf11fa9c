//! What quotas count, refuse and give back.

use crate::space::{Space, pod};
use serde_json::{Value, json};

/// Limits on about everything that can be limited, one of them above what the test makes.
fn quota(more: &Value) -> Value {
    let mut hard = json!({
        "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1", "replicationcontrollers": "10",
        "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "10", "secrets": "10", "persistentvolumeclaims": "10",
        "requests.storage": "10Gi", "ephemeral-storage": "50Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
        "gold.storageclass.storage.k8s.io/requests.storage": "10Gi", "count/replicasets.apps": "5",
        "requests.example.com/dongle": "3",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        hard[key] = value.clone();
    }
    json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}})
}

/// Waits until the quota's status has these values among its used ones, and has taken over all of its limits.
fn used(space: &Space, name: &str, wanted: &Value) {
    space.wait("resourcequotas", name, |quota| {
        quota.is_some_and(|quota| {
            let wanted = wanted.as_object().expect("an object");
            quota["status"]["hard"] == quota["spec"]["hard"] && wanted.iter().all(|(key, value)| quota["status"]["used"][key] == *value)
        })
    });
}

fn counted(space: &str, more: &Value) -> Space {
    let space = Space::new(space);
    assert_eq!(space.list("resourcequotas").len(), 0);
    space.create("resourcequotas", &quota(more));
    used(&space, "quota", &json!({"resourcequotas": "1"}));
    space
}

fn forbidden(space: &Space, resource: &str, object: &Value, said: &str) {
    let refused = space.try_create(resource, object).expect_err("more than the quota has");
    assert_eq!((refused.code, refused.reason.as_str()), (403, "Forbidden"), "{refused:?}");
    assert!(refused.message.contains(said), "{refused:?}");
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated.
#[test]
fn a_quota_counts_itself() {
    let space = counted("quota-itself", &Value::Null);
    let mut second = quota(&Value::Null);
    second["metadata"]["name"] = json!("second");
    forbidden(&space, "resourcequotas", &second, "exceeded quota: quota, requested: resourcequotas=1, used: resourcequotas=1");
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a service.
#[test]
fn services_are_counted_and_their_node_ports() {
    let space = counted("quota-services", &Value::Null);
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 80}]}});
    let inside = space.create("services", &service("inside", "ClusterIP"));
    let outside = space.create("services", &service("outside", "NodePort"));
    forbidden(&space, "services", &service("far", "LoadBalancer"), "services.nodeports=1");
    used(&space, "quota", &json!({"resourcequotas": "1", "services": "2", "services.nodeports": "1", "services.loadbalancers": "0"}));
    space.delete("services", &inside, &json!({}));
    space.delete("services", &outside, &json!({}));
    used(&space, "quota", &json!({"resourcequotas": "1", "services": "0", "services.nodeports": "0"}));
}

/// One object of a kind that is counted: it is, no second one is let in, and it is given back.
fn counts_one(space: &Space, resource: &str, key: &str, before: usize, object: &Value) {
    used(space, "quota", &json!({key: before.to_string()}));
    let made = space.create(resource, object);
    used(space, "quota", &json!({"resourcequotas": "1", key: (before + 1).to_string()}));
    let mut second = object.clone();
    second["metadata"]["name"] = json!("second");
    forbidden(space, resource, &second, &format!("exceeded quota: quota, requested: {key}=1"));
    space.delete(resource, &made, &json!({"propagationPolicy": "Background"}));
    used(space, "quota", &json!({key: before.to_string()}));
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a secret.
#[test]
fn secrets_are_counted() {
    let space = counted("quota-secrets", &json!({"secrets": "1"}));
    counts_one(&space, "secrets", "secrets", 0, &json!({"metadata": {"name": "first"}, "data": {"data-1": "dmFsdWUtMQ0K"}}));
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a configMap.
#[test]
fn config_maps_are_counted() {
    // One is there already, in every namespace.
    let space = counted("quota-configmaps", &json!({"configmaps": "2"}));
    space.wait("configmaps", "kube-root-ca.crt", |map| map.is_some());
    counts_one(&space, "configmaps", "configmaps", 1, &json!({"metadata": {"name": "first"}, "data": {"a": "b"}}));
}

fn replicas(selector: &Value) -> Value {
    let template = json!({"metadata": {"labels": {"name": "nginx"}}, "spec": pod("x")["spec"]});
    json!({"metadata": {"name": "first"}, "spec": {"replicas": 0, "selector": selector, "template": template}})
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replication controller.
#[test]
fn replication_controllers_are_counted() {
    let space = counted("quota-controllers", &json!({"replicationcontrollers": "1"}));
    counts_one(&space, "replicationcontrollers", "replicationcontrollers", 0, &replicas(&json!({"name": "nginx"})));
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replica set.
#[test]
fn replica_sets_are_counted() {
    let space = counted("quota-sets", &json!({"count/replicasets.apps": "1"}));
    counts_one(&space, "apps/replicasets", "count/replicasets.apps", 0, &replicas(&json!({"matchLabels": {"name": "nginx"}})));
}

/// For no node: what is counted is what was asked for.
fn asking(name: &str, requests: &Value, limits: &Value) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeSelector"] = json!({"x-test.k8s.io/unsatisfiable": "not-schedulable"});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": requests, "limits": limits});
    pod
}

/// Behaviour: [sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a pod.
#[test]
fn pods_are_counted_with_all_they_ask_for() {
    let space = counted("quota-pods", &Value::Null);
    let dongles = json!({"example.com/dongle": "2"});
    let requests = json!({"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"});
    let mut first = space.create("pods", &asking("first", &requests, &dongles));
    let taken = json!({"resourcequotas": "1", "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2"});
    used(&space, "quota", &taken);
    let much = json!({"cpu": "600m", "memory": "100Mi", "ephemeral-storage": "1Gi"});
    forbidden(&space, "pods", &asking("second", &much, &json!({})), "requested: cpu=600m, used: cpu=500m, limited: cpu=1");
    let much = json!({"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "10Gi", "example.com/dongle": "2"});
    forbidden(&space, "pods", &asking("third", &much, &dongles), "requested: requests.example.com/dongle=2");
    // Of processors and memory, what is limited must be said.
    forbidden(&space, "pods", &asking("fourth", &json!({"cpu": "1m"}), &json!({})), "must specify memory for: c");
    // Whatever the scheduler has said of it since.
    first["metadata"]["resourceVersion"].take();
    first["spec"]["containers"][0]["resources"]["requests"] = json!({"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "10Gi"});
    let refused = space.try_replace("pods", &first).expect_err("requests stay");
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"), "{refused:?}");
    used(&space, "quota", &taken);
    space.delete("pods", &first, &json!({"gracePeriodSeconds": 0}));
    let nothing = json!({"resourcequotas": "1", "pods": "0", "cpu": "0", "memory": "0", "ephemeral-storage": "0",
        "requests.example.com/dongle": "0"});
    used(&space, "quota", &nothing);
}

/// Two quotas that share the pods of a namespace out between them.
struct Scopes<'a> {
    space: &'a Space,
    names: [&'a str; 2],
    nothing: Value,
}

impl Scopes<'_> {
    /// The pod counts for the quota at `index`, and never for the other; and it is given back.
    fn counts(&self, index: usize, pod: &Value, taken: &Value) {
        let made = self.space.create("pods", pod);
        used(self.space, self.names[index], taken);
        // A new limit makes the controller count the other afresh.
        let other = self.names[1 - index];
        self.space.patch("resourcequotas", other, &json!({"spec": {"hard": {"pods": "6"}}}));
        used(self.space, other, &self.nothing);
        self.space.delete("pods", &made, &json!({"gracePeriodSeconds": 0}));
        used(self.space, self.names[index], &self.nothing);
    }

    fn create(&self, scopes: [&str; 2], hard: &Value) {
        for (name, scope) in self.names.iter().zip(scopes) {
            let quota = json!({"metadata": {"name": name}, "spec": {"hard": hard, "scopes": [scope]}});
            self.space.create("resourcequotas", &quota);
            used(self.space, name, &self.nothing);
        }
    }
}

/// Behaviour: [sig-api-machinery] ResourceQuota should verify ResourceQuota with terminating scopes.
#[test]
fn pods_with_a_deadline_count_apart() {
    let space = Space::new("quota-terminating");
    let nothing = json!({"pods": "0", "requests.cpu": "0", "requests.memory": "0", "limits.cpu": "0", "limits.memory": "0"});
    let quotas = Scopes { space: &space, names: ["ending", "lasting"], nothing };
    let hard = json!({"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"});
    quotas.create(["Terminating", "NotTerminating"], &hard);
    let (requests, limits) = (json!({"cpu": "500m", "memory": "200Mi"}), json!({"cpu": "1", "memory": "400Mi"}));
    let taken = json!({"pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi"});
    quotas.counts(1, &asking("lasting", &requests, &limits), &taken);
    let mut ending = asking("ending", &requests, &limits);
    ending["spec"]["activeDeadlineSeconds"] = json!(3600);
    quotas.counts(0, &ending, &taken);
}

/// Behaviour: [sig-api-machinery] ResourceQuota should verify ResourceQuota with best effort scope.
#[test]
fn pods_that_ask_for_nothing_count_apart() {
    let space = Space::new("quota-best-effort");
    let quotas = Scopes { space: &space, names: ["best-effort", "not-best-effort"], nothing: json!({"pods": "0"}) };
    quotas.create(["BestEffort", "NotBestEffort"], &json!({"pods": "5"}));
    let taken = json!({"pods": "1"});
    quotas.counts(0, &asking("best-effort", &json!({}), &json!({})), &taken);
    let (requests, limits) = (json!({"cpu": "500m", "memory": "200Mi"}), json!({"cpu": "1", "memory": "400Mi"}));
    quotas.counts(1, &asking("burstable", &requests, &limits), &taken);
}

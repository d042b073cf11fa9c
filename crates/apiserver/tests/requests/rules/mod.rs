//! Admission policies written in expressions.

mod mutating;
mod validating;

use crate::support::*;
use serde_json::{Value, json};

pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

pub fn on(operations: &[&str], group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]}]})
}

impl Server {
    pub async fn validating_policy(&self, name: &str, spec: Value) -> Answer {
        self.post(&format!("{GROUP}/validatingadmissionpolicies"), json!({"metadata": {"name": name}, "spec": spec})).await
    }

    /// Binds the policy of the same name.
    pub async fn bind_validating(&self, name: &str, more: Value) {
        let spec = with(json!({"policyName": name, "validationActions": ["Deny"]}), more);
        self.post(&format!("{GROUP}/validatingadmissionpolicybindings"), json!({"metadata": {"name": name}, "spec": spec}))
            .await
            .expect(201);
    }

    /// A namespace with the label `watched`; where its kinds of `apps` are.
    pub async fn watched_namespace(&self) -> &'static str {
        let namespace = json!({"metadata": {"name": "watched", "labels": {"watched": "yes"}}});
        self.post("/api/v1/namespaces", namespace).await.expect(201);
        "/apis/apps/v1/namespaces/watched"
    }

    pub async fn mutating_policy(&self, name: &str, spec: Value) -> Answer {
        let spec = with(json!({"reinvocationPolicy": "Never"}), spec);
        self.post(&format!("{GROUP}/mutatingadmissionpolicies"), json!({"metadata": {"name": name}, "spec": spec})).await
    }

    pub async fn bind_mutating(&self, name: &str, more: Value) {
        let spec = with(json!({"policyName": name}), more);
        self.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), json!({"metadata": {"name": name}, "spec": spec})).await.expect(201);
    }
}

fn with(mut spec: Value, more: Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

pub fn deployment(name: &str, replicas: u32) -> Value {
    let template = json!({"metadata": {"labels": {"a": "d"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
           "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "d"}}, "template": template}})
}

pub fn replica_set(name: &str, replicas: u32) -> Value {
    let mut object = deployment(name, replicas);
    object["kind"] = "ReplicaSet".into();
    object
}

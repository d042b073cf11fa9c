//! A node writes about itself only.

use super::{Acts, Operation, Plugin, Request};
use crate::auth::node::identity;
use async_trait::async_trait;
use meta::{ApiError, GroupResource, value};
use serde_json::Value;
use std::collections::BTreeSet;

pub struct NodeRestriction;

const MIRROR: &str = "kubernetes.io/config.mirror";
/// Labels that a kubelet sets about its machine.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
const RESTRICTED: &str = "node-restriction.kubernetes.io";

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let Some(node) = identity(&request.attributes.user) else { return Ok(()) };
        let gr = &request.resource.group_resource;
        let sub = request.attributes.subresource.as_str();
        let it = Check { request, node, object, old: old.unwrap_or(object) };
        let refused = match (gr.group.as_str(), gr.resource.as_str()) {
            ("", "pods") => match sub {
                "" => it.pod(),
                "status" => it.pod_status(),
                "eviction" => it.eviction(),
                other => Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
            },
            ("", "nodes") => it.node(),
            ("", "persistentvolumeclaims") => it.claim_status(),
            ("coordination.k8s.io", "leases") => it.lease(),
            ("storage.k8s.io", "csinodes") => it.same_name("can only access CSINode with the same name as the requesting node"),
            ("resource.k8s.io", "resourceslices") => it.slice(),
            ("certificates.k8s.io", "certificatesigningrequests") => it.certificate(),
            _ => Ok(()),
        };
        refused.map_err(|why| request.forbidden(why))
    }
}

struct Check<'a> {
    request: &'a Request<'a>,
    node: &'a str,
    object: &'a Value,
    old: &'a Value,
}

impl Check<'_> {
    fn creates(&self) -> bool {
        self.request.operation == Operation::Create
    }

    fn name(&self) -> &str {
        if self.request.name.is_empty() { value::text(self.object, &["metadata", "name"]) } else { self.request.name }
    }

    fn same_name(&self, why: &str) -> Result<(), String> {
        if self.name() == self.node { Ok(()) } else { Err(why.into()) }
    }

    fn pod(&self) -> Result<(), String> {
        let node = self.node;
        let on = |pod: &Value| value::text(pod, &["spec", "nodeName"]) == node;
        match self.request.operation {
            Operation::Create => {}
            Operation::Delete if on(self.old) => return Ok(()),
            Operation::Delete => return Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself")),
            _ => return Err(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods")),
        }
        let pod = self.object;
        if value::at(pod, &["metadata", "annotations", MIRROR]).is_none() {
            return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
        }
        if !on(pod) {
            return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        self.owner(pod)?;
        match references(pod) {
            Some(kind) => Err(format!("node {node:?} can not create pods that reference {kind}")),
            None => Ok(()),
        }
    }

    /// A mirror pod belongs to its node.
    fn owner(&self, pod: &Value) -> Result<(), String> {
        let node = self.node;
        let owner = match value::items(pod, &["metadata", "ownerReferences"]) {
            [] => return Err(format!("node {node:?} can only create pods with an owner reference set to itself")),
            [only] => only,
            _ => return Err(format!("node {node:?} can only create pods with a single owner reference set to itself")),
        };
        let text = |f: &str| value::text(owner, &[f]);
        if (text("apiVersion"), text("kind"), text("name")) != ("v1", "Node", node) {
            return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
        if !value::flag(owner, &["controller"]) {
            return Err(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
        }
        if value::flag(owner, &["blockOwnerDeletion"]) {
            return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        let there = self.request.server.objects().get(&GroupResource::new("", "nodes"), "", node);
        match there {
            None => Err(format!("nodes {node:?} not found")),
            Some(there) if there.uid() != text("uid") => {
                Err(format!("node {node} UID mismatch: expected {} got {}", text("uid"), there.uid()))
            }
            Some(_) => Ok(()),
        }
    }

    fn eviction(&self) -> Result<(), String> {
        let pod = self.request.object("", "pods", self.request.namespace, self.request.name).map(|p| p.value()).unwrap_or_default();
        let own = value::text(&pod, &["spec", "nodeName"]) == self.node;
        if own { Ok(()) } else { Err(format!("node {} can only evict pods with spec.nodeName set to itself", self.node)) }
    }

    fn pod_status(&self) -> Result<(), String> {
        let node = self.node;
        let same = |path: &[&str]| value::at(self.old, path) == value::at(self.object, path);
        if value::text(self.old, &["spec", "nodeName"]) != node {
            return Err(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
        }
        if !same(&["metadata", "labels"]) {
            return Err(format!("node {node:?} cannot update labels through pod status"));
        }
        if !same(&["status", "resourceClaimStatuses"]) {
            return Err(format!("node {node:?} cannot update resource claim statues"));
        }
        if !same(&["status", "extendedResourceClaimStatus"]) {
            return Err(format!("node {node:?} cannot update extended resource claim status"));
        }
        Ok(())
    }

    fn node(&self) -> Result<(), String> {
        let (node, name) = (self.node, self.name());
        if name != node {
            return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
        }
        let labels = |v: &Value| value::at(v, &["metadata", "labels"]).and_then(Value::as_object).cloned().unwrap_or_default();
        if self.creates() {
            let set = labels(self.object);
            let forbidden = forbidden(set.keys());
            if !forbidden.is_empty() {
                return Err(format!("node {node:?} is not allowed to set the following labels: {}", forbidden.join(", ")));
            }
            return Ok(());
        }
        if self.request.operation != Operation::Update {
            return Ok(());
        }
        let same = |path: &[&str]| {
            let part = |v| value::at(v, path).filter(|p| p.as_array().is_none_or(|a| !a.is_empty()));
            part(self.old) == part(self.object)
        };
        if !same(&["spec", "taints"]) {
            return Err(format!("node {node:?} is not allowed to modify taints"));
        }
        if !same(&["metadata", "ownerReferences"]) {
            return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
        let (old, new) = (labels(self.old), labels(self.object));
        let modified: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|k| old.get(*k) != new.get(*k)).collect();
        let forbidden = forbidden(modified.into_iter());
        if forbidden.is_empty() { Ok(()) } else { Err(format!("is not allowed to modify labels: {}", forbidden.join(", "))) }
    }

    /// What a resize does, and nothing else.
    fn claim_status(&self) -> Result<(), String> {
        if self.request.attributes.subresource != "status" {
            return Err("may only update PVC status".into());
        }
        let bare = |claim: &Value| {
            let mut claim = claim.clone();
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                value::remove(&mut claim, &["status", field]);
            }
            value::remove(&mut claim, &["metadata", "resourceVersion"]);
            value::remove(&mut claim, &["metadata", "managedFields"]);
            claim
        };
        if bare(self.old) == bare(self.object) {
            return Ok(());
        }
        Err(format!("node {:?} is not allowed to update fields other than status.quantity and status.conditions", self.node))
    }

    fn lease(&self) -> Result<(), String> {
        if self.request.attributes.namespace != "kube-node-lease" {
            return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
        }
        self.same_name("can only access node lease with the same name as the requesting node")
    }

    fn slice(&self) -> Result<(), String> {
        let (slice, what) = match self.request.operation {
            Operation::Create => (self.object, "create"),
            Operation::Delete => (self.old, "delete"),
            _ => return Ok(()),
        };
        if value::text(slice, &["spec", "nodeName"]) == self.node {
            return Ok(());
        }
        Err(format!("can only {what} ResourceSlice with the same NodeName as the requesting node"))
    }

    fn certificate(&self) -> Result<(), String> {
        let signer = value::text(self.object, &["spec", "signerName"]);
        if !self.creates() || !matches!(signer, "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet") {
            return Ok(());
        }
        let name = super::certificates::common_name(value::text(self.object, &["spec", "request"]));
        let name = name.map_err(|why| format!("unable to parse csr: {why}"))?;
        let own = format!("system:node:{}", self.node);
        if name == own { Ok(()) } else { Err(format!("can only create a node CSR with CN={own}")) }
    }
}

/// Kubernetes' own labels but those of kubelets, and those kept from nodes.
fn forbidden<'a>(labels: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let below = |namespace: &str, parent: &str| namespace == parent || namespace.strip_suffix(parent).is_some_and(|n| n.ends_with('.'));
    let is = |label: &&str| {
        let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
        let kubernetes = below(namespace, "kubernetes.io") || below(namespace, "k8s.io");
        let kubelet = KUBELET_LABELS.contains(label) || below(namespace, "kubelet.kubernetes.io") || below(namespace, "node.kubernetes.io");
        below(namespace, RESTRICTED) || (kubernetes && !kubelet)
    };
    labels.map(String::as_str).filter(is).collect()
}

/// The first thing of the API that a pod names.
fn references(pod: &Value) -> Option<&'static str> {
    let spec = pod.get("spec")?;
    if !value::text(spec, &["serviceAccountName"]).is_empty() {
        return Some("serviceaccounts");
    }
    if !value::items(spec, &["imagePullSecrets"]).is_empty() {
        return Some("secrets");
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in value::items(spec, &[list]) {
            for (from, field) in [("envFrom", ""), ("env", "valueFrom")] {
                for entry in value::items(container, &[from]) {
                    let source = if field.is_empty() { entry } else { entry.get(field).unwrap_or(&Value::Null) };
                    if source.get("secretRef").or(source.get("secretKeyRef")).is_some() {
                        return Some("secrets");
                    }
                    if source.get("configMapRef").or(source.get("configMapKeyRef")).is_some() {
                        return Some("configmaps");
                    }
                }
            }
        }
    }
    if !value::items(spec, &["resourceClaims"]).is_empty() {
        return Some("resourceclaims");
    }
    let named = |source: &Value| {
        [
            ("secret", "secrets"),
            ("configMap", "configmaps"),
            ("persistentVolumeClaim", "persistentvolumeclaims"),
            ("ephemeral", "persistentvolumeclaims"),
            ("serviceAccountToken", "serviceaccounts"),
            ("clusterTrustBundle", "clustertrustbundles"),
        ]
        .into_iter()
        .find_map(|(field, kind)| source.get(field).map(|_| kind))
    };
    let projected = |v: &Value| value::items(v, &["projected", "sources"]).iter().find_map(named);
    value::items(spec, &["volumes"]).iter().find_map(|v| named(v).or_else(|| projected(v)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_sets_labels_about_its_machine_only() {
        let labels = [
            "example.com/x",
            "kubernetes.io/hostname",
            "node.kubernetes.io/anything",
            "sub.kubelet.kubernetes.io/x",
            "node-role.kubernetes.io/control-plane",
            "a.node-restriction.kubernetes.io/x",
            "plain",
        ]
        .map(String::from);
        let found = forbidden(labels.iter());
        assert_eq!(found, ["node-role.kubernetes.io/control-plane", "a.node-restriction.kubernetes.io/x"]);
    }

    #[test]
    fn a_mirror_pod_names_nothing() {
        let pod = |spec: Value| json!({"spec": spec});
        assert_eq!(references(&pod(json!({"containers": [{"env": [{"name": "a", "value": "b"}]}], "volumes": [{"hostPath": {}}]}))), None);
        let token = json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]});
        assert_eq!(references(&pod(token)), Some("serviceaccounts"));
        let env = json!({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {}}}]}]});
        assert_eq!(references(&pod(env)), Some("secrets"));
    }
}

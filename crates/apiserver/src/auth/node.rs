//! What a node may do: read what its own pods need, and write about itself.

use crate::attributes::Attributes;
use crate::authorizer::{Authorizer, Decision};
use crate::objects::{Object, ObjectChange, Objects};
use crate::user::User;
use meta::{GroupResource, value};
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const PREFIX: &str = "system:node:";

/// The name of the node that the user is.
pub fn identity(user: &User) -> Option<&str> {
    user.in_group("system:nodes").then(|| user.name.strip_prefix(PREFIX)).flatten().filter(|n| !n.is_empty())
}

/// Resource, namespace, name.
type Vertex = (&'static str, String, String);

struct Pod {
    node: String,
    needs: HashSet<Vertex>,
}

/// Pods that run on a node and what they name.
#[derive(Default)]
struct Graph {
    pods: HashMap<(String, String), Pod>,
    /// How many pods of a node need it.
    needed: HashMap<String, HashMap<Vertex, usize>>,
}

impl Graph {
    fn change(&mut self, change: &ObjectChange) {
        let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let key = (object.namespace().to_string(), object.name().to_string());
        if let Some(old) = self.pods.remove(&key)
            && let Some(needed) = self.needed.get_mut(&old.node)
        {
            for vertex in old.needs {
                let count = needed.get_mut(&vertex).map(|c| {
                    *c -= 1;
                    *c
                });
                if count == Some(0) {
                    needed.remove(&vertex);
                }
            }
            if needed.is_empty() {
                self.needed.remove(&old.node);
            }
        }
        // Most pods are on no node when they come.
        let Some(new) = change.new.as_ref().filter(|new| new.header.field("spec.nodeName") != Some("")) else { return };
        let pod = new.value();
        let node = value::text(&pod, &["spec", "nodeName"]).to_string();
        if node.is_empty() {
            return;
        }
        let needs = needs(&pod, &key.0);
        let needed = self.needed.entry(node.clone()).or_default();
        for vertex in &needs {
            *needed.entry(vertex.clone()).or_default() += 1;
        }
        self.pods.insert(key, Pod { node, needs });
    }
}

/// What a pod of the namespace names.
fn needs(pod: &Value, namespace: &str) -> HashSet<Vertex> {
    let mut out = HashSet::new();
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    // Mirror pods get nothing: a node could otherwise name what it wants.
    if value::at(pod, &["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
        return out;
    }
    let mut add = |resource: &'static str, name: &str| {
        if !name.is_empty() {
            out.insert((resource, namespace.to_string(), name.to_string()));
        }
    };
    add("serviceaccounts", value::text(spec, &["serviceAccountName"]));
    value::items(spec, &["imagePullSecrets"]).iter().for_each(|s| add("secrets", value::text(s, &["name"])));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in value::items(spec, &[list]) {
            for from in value::items(container, &["envFrom"]) {
                add("configmaps", value::text(from, &["configMapRef", "name"]));
                add("secrets", value::text(from, &["secretRef", "name"]));
            }
            for env in value::items(container, &["env"]) {
                add("configmaps", value::text(env, &["valueFrom", "configMapKeyRef", "name"]));
                add("secrets", value::text(env, &["valueFrom", "secretKeyRef", "name"]));
            }
        }
    }
    let pod_name = value::text(pod, &["metadata", "name"]);
    for volume in value::items(spec, &["volumes"]) {
        add("configmaps", value::text(volume, &["configMap", "name"]));
        add("secrets", value::text(volume, &["secret", "secretName"]));
        add("persistentvolumeclaims", value::text(volume, &["persistentVolumeClaim", "claimName"]));
        if volume.get("ephemeral").is_some() {
            add("persistentvolumeclaims", &format!("{pod_name}-{}", value::text(volume, &["name"])));
        }
        for field in ["nodePublishSecretRef", "secretRef"] {
            for source in ["csi", "cephfs", "rbd", "flexVolume", "iscsi", "storageos", "scaleIO"] {
                add("secrets", value::text(volume, &[source, field, "name"]));
            }
        }
        for source in value::items(volume, &["projected", "sources"]) {
            add("configmaps", value::text(source, &["configMap", "name"]));
            add("secrets", value::text(source, &["secret", "name"]));
        }
    }
    for claim in value::items(pod, &["status", "resourceClaimStatuses"]) {
        add("resourceclaims", value::text(claim, &["resourceClaimName"]));
    }
    for claim in value::items(spec, &["resourceClaims"]) {
        add("resourceclaims", value::text(claim, &["resourceClaimName"]));
    }
    out
}

#[derive(Clone)]
pub struct NodeAuthorizer {
    graph: Arc<RwLock<Graph>>,
    objects: Arc<dyn Objects>,
}

impl NodeAuthorizer {
    /// Follows the pods. Needs a runtime.
    pub fn start(objects: Arc<dyn Objects>) -> Self {
        let graph = Arc::new(RwLock::new(Graph::default()));
        let mut changes = objects.changes(&GroupResource::new("", "pods"));
        while let Ok(change) = changes.try_recv() {
            graph.write().change(&change);
        }
        let fed = graph.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                fed.write().change(&change);
            }
        });
        Self { graph, objects }
    }

    fn needed(&self, node: &str, resource: &'static str, namespace: &str, name: &str) -> bool {
        let vertex = (resource, namespace.to_string(), name.to_string());
        self.graph.read().needed.get(node).is_some_and(|n| n.contains_key(&vertex))
    }

    fn volume(&self, name: &str) -> Option<Arc<Object>> {
        self.objects.get(&GroupResource::new("", "persistentvolumes"), "", name)
    }

    /// Bound to a claim that a pod of the node uses.
    fn volume_needed(&self, node: &str, name: &str) -> bool {
        self.volume(name).is_some_and(|v| {
            let v = v.value();
            let claim = |f| value::text(&v, &["spec", "claimRef", f]);
            self.needed(node, "persistentvolumeclaims", claim("namespace"), claim("name"))
        })
    }

    /// Secrets that the volumes of the node's pods name.
    fn volume_secret(&self, node: &str, namespace: &str, name: &str) -> bool {
        let claims: Vec<Vertex> = {
            let graph = self.graph.read();
            let all = graph.needed.get(node).into_iter().flat_map(HashMap::keys);
            all.filter(|v| v.0 == "persistentvolumeclaims").cloned().collect()
        };
        let claim_of = GroupResource::new("", "persistentvolumeclaims");
        claims.iter().any(|(_, ns, claim)| {
            let Some(claim) = self.objects.get(&claim_of, ns, claim) else { return false };
            let Some(volume) = self.volume(value::text(&claim.value(), &["spec", "volumeName"])) else { return false };
            let volume = volume.value();
            let refs = ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];
            refs.iter().any(|r| {
                value::at(&volume, &["spec", "csi", r])
                    .is_some_and(|s| value::text(s, &["name"]) == name && value::text(s, &["namespace"]) == namespace)
            })
        })
    }

    fn allows(&self, node: &str, a: &Attributes) -> bool {
        let verb = a.verb.as_str();
        let read = a.read_only();
        // Lists and watches only of the one object that is meant.
        let (ns, name) = (a.namespace.as_str(), a.name.as_str());
        match (a.group.as_str(), a.resource.as_str(), a.subresource.as_str()) {
            ("", "secrets", "") => {
                read && !name.is_empty() && (self.needed(node, "secrets", ns, name) || self.volume_secret(node, ns, name))
            }
            ("", "configmaps", "") => {
                read && !name.is_empty()
                    && (self.needed(node, "configmaps", ns, name) || name == "kube-root-ca.crt" && self.runs_in(node, ns))
            }
            ("", "persistentvolumeclaims", "") => verb == "get" && self.needed(node, "persistentvolumeclaims", ns, name),
            ("", "persistentvolumeclaims", "status") => {
                matches!(verb, "get" | "update" | "patch") && self.needed(node, "persistentvolumeclaims", ns, name)
            }
            ("", "persistentvolumes", "") => verb == "get" && self.volume_needed(node, name),
            ("", "serviceaccounts", "token") => verb == "create" && self.needed(node, "serviceaccounts", ns, name),
            ("", "serviceaccounts", "") => verb == "get" && self.needed(node, "serviceaccounts", ns, name),
            ("resource.k8s.io", "resourceclaims", "") => verb == "get" && self.needed(node, "resourceclaims", ns, name),
            ("resource.k8s.io", "resourceslices", "") => true,
            ("storage.k8s.io", "volumeattachments", "") => verb == "get" && self.attached(node, name),
            ("storage.k8s.io", "csinodes", "") => verb != "list" && verb != "watch" && (name == node || verb == "create"),
            ("coordination.k8s.io", "leases", "") => {
                ns == "kube-node-lease"
                    && matches!(verb, "get" | "create" | "update" | "patch" | "delete")
                    && (name == node || (name.is_empty() && verb == "create"))
            }
            ("", "nodes", "") => (read && name == node) || verb == "create" || (matches!(verb, "update" | "patch") && name == node),
            ("", "nodes", "status") => matches!(verb, "update" | "patch" | "get") && name == node,
            ("", "pods", "") => match verb {
                "get" => self.on(node, ns, name),
                "list" | "watch" => a
                    .field_selector
                    .split(',')
                    .any(|s| matches!(s.replace("==", "=").split_once('='), Some(("spec.nodeName", n)) if n == node)),
                "create" => true,
                "delete" => self.on(node, ns, name),
                _ => false,
            },
            ("", "pods", "status") => matches!(verb, "update" | "patch") && self.on(node, ns, name),
            ("", "pods", "eviction") => verb == "create" && self.on(node, ns, name),
            ("", "services", "") | ("node.k8s.io", "runtimeclasses", "") | ("storage.k8s.io", "csidrivers", "") => read,
            ("discovery.k8s.io", "endpointslices", "") | ("", "namespaces", "") => read,
            ("", "events", "") | ("events.k8s.io", "events", "") => matches!(verb, "create" | "update" | "patch"),
            ("certificates.k8s.io", "certificatesigningrequests", "") => read || verb == "create",
            ("certificates.k8s.io", "certificatesigningrequests", "selfnodeclient") => verb == "create",
            ("authentication.k8s.io", "tokenreviews", "") => verb == "create",
            ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => verb == "create",
            _ => false,
        }
    }

    fn on(&self, node: &str, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_string(), name.to_string());
        self.graph.read().pods.get(&key).is_some_and(|p| p.node == node)
    }

    fn runs_in(&self, node: &str, namespace: &str) -> bool {
        self.graph.read().needed.get(node).is_some_and(|n| n.keys().any(|v| v.1 == namespace))
    }

    fn attached(&self, node: &str, name: &str) -> bool {
        let attachment = self.objects.get(&GroupResource::new("storage.k8s.io", "volumeattachments"), "", name);
        attachment.is_some_and(|a| value::text(&a.value(), &["spec", "nodeName"]) == node)
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        let Some(node) = identity(&attributes.user) else { return Decision::NoOpinion(String::new()) };
        if !attributes.is_resource {
            return Decision::NoOpinion(String::new());
        }
        if self.allows(node, attributes) {
            return Decision::Allow;
        }
        Decision::NoOpinion(format!("no relationship found between node '{node}' and this object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::rbac::tests::{Fixed, ask};
    use serde_json::json;

    #[tokio::test]
    async fn a_node_reads_what_its_pods_need() {
        let pod = json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {"nodeName": "n1", "serviceAccountName": "s",
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"projected": {"sources": [{"configMap": {"name": "m"}}]}}]}});
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "a", "name": "c"},
            "csi": {"nodeStageSecretRef": {"namespace": "z", "name": "stage"}}}});
        let claim = json!({"metadata": {"namespace": "a", "name": "c"}, "spec": {"volumeName": "pv"}});
        let objects = Fixed::of(&[("", "pods", pod), ("", "persistentvolumes", volume), ("", "persistentvolumeclaims", claim)]);
        let authorizer = NodeAuthorizer::start(Arc::new(objects));
        let may = |node: &str, verb: &str, resource: &str, ns: &str, name: &str| {
            let user = User::new(format!("system:node:{node}"), &["system:nodes"]);
            authorizer.authorize(&ask(&user, verb, "", resource, ns, name)) == Decision::Allow
        };
        for (verb, resource, ns, name) in [
            ("get", "secrets", "a", "env"),
            ("get", "configmaps", "a", "m"),
            ("get", "persistentvolumeclaims", "a", "c"),
            ("get", "persistentvolumes", "", "pv"),
            ("get", "secrets", "z", "stage"),
            ("create", "serviceaccounts/token", "a", "s"),
            ("get", "pods", "a", "p"),
        ] {
            assert!(may("n1", verb, resource, ns, name), "{resource} {name}");
            assert!(!may("n2", verb, resource, ns, name), "{resource} {name}");
        }
        assert!(!may("n1", "get", "secrets", "a", "other") && !may("n1", "list", "secrets", "a", ""));
        assert!(may("n1", "patch", "nodes/status", "", "n1") && !may("n1", "patch", "nodes/status", "", "n2"));
    }
}

//! What a node may do: read what its own pods need, and write about itself.

use super::bootstrap;
use super::rbac::Rule;
use crate::attributes::Attributes;
use crate::authorizer::{Authorizer, Decision};
use crate::objects::{Object, ObjectChange, Objects};
use crate::user::User;
use meta::{GroupResource, fields, value};
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";

/// The name of the node that the user is.
pub fn identity(user: &User) -> Option<&str> {
    user.in_group(GROUP).then(|| user.name.strip_prefix(PREFIX)).flatten().filter(|n| !n.is_empty())
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
    /// What is not about single objects, as the role for nodes has it.
    rules: Arc<Vec<Rule>>,
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
        let roles = bootstrap::objects();
        let role =
            roles.iter().find(|o| value::text(o, &["kind"]) == "ClusterRole" && value::text(o, &["metadata", "name"]) == "system:node");
        Self { graph, objects, rules: Arc::new(role.map(Rule::all).unwrap_or_default()) }
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

    /// None: allowed.
    fn refuses(&self, node: &str, a: &Attributes) -> Option<String> {
        let (verb, sub) = (a.verb.as_str(), a.subresource.as_str());
        let (ns, name) = (a.namespace.as_str(), a.name.as_str());
        let unless = |allowed: bool, why: &str| (!allowed).then(|| why.to_string());
        let related = |found: bool| match name {
            "" => Some("No Object name found".into()),
            _ => unless(found, &format!("no relationship found between node '{node}' and this object")),
        };
        let get = |found: &dyn Fn() -> bool| match (verb, sub) {
            ("get", "") => related(found()),
            ("get", _) => Some("cannot get subresource".into()),
            _ => Some("can only get individual resources of this type".into()),
        };
        let read = |found: &dyn Fn() -> bool| match (a.read_only(), sub) {
            (true, "") if ns.is_empty() => Some("can only read namespaced object of this type".into()),
            (true, "") => related(found()),
            (true, _) => Some("cannot read subresource".into()),
            _ => Some("can only read resources of this type".into()),
        };
        match (a.group.as_str(), a.resource.as_str()) {
            ("", "secrets") => read(&|| self.needed(node, "secrets", ns, name) || self.volume_secret(node, ns, name)),
            ("", "configmaps") => read(&|| self.needed(node, "configmaps", ns, name)),
            ("", "persistentvolumeclaims") if sub == "status" => match verb {
                "update" | "patch" => related(self.needed(node, "persistentvolumeclaims", ns, name)),
                _ => Some("can only get/update/patch this type".into()),
            },
            ("", "persistentvolumeclaims") => get(&|| self.needed(node, "persistentvolumeclaims", ns, name)),
            ("", "persistentvolumes") => get(&|| self.volume_needed(node, name)),
            ("resource.k8s.io", "resourceclaims") => get(&|| self.needed(node, "resourceclaims", ns, name)),
            ("storage.k8s.io", "volumeattachments") => get(&|| self.names(node, "storage.k8s.io", "volumeattachments", name)),
            ("", "serviceaccounts") if verb == "get" && sub.is_empty() => read(&|| self.needed(node, "serviceaccounts", ns, name)),
            ("", "serviceaccounts") => match (verb, sub) {
                ("create", "token") if !name.is_empty() => related(self.needed(node, "serviceaccounts", ns, name)),
                ("create", _) if !name.is_empty() => Some("can only create token subresource of serviceaccount".into()),
                _ => Some("can only create tokens for individual service accounts".into()),
            },
            ("coordination.k8s.io", "leases") => match verb {
                "get" | "create" | "update" | "patch" | "delete" if ns != LEASES => {
                    Some(format!("can only access leases in the {LEASES:?} system namespace"))
                }
                "create" => None,
                "get" | "update" | "patch" | "delete" => {
                    unless(name == node, "can only access node lease with the same name as the requesting node")
                }
                _ => Some("can only get, create, update, patch, or delete a node lease".into()),
            },
            ("storage.k8s.io", "csinodes") => match (verb, sub) {
                ("get" | "create" | "update" | "patch" | "delete", sub) if !sub.is_empty() => {
                    Some("cannot authorize CSINode subresources".into())
                }
                ("create", _) => None,
                ("get" | "update" | "patch" | "delete", _) => {
                    unless(name == node, "can only access CSINode with the same name as the requesting node")
                }
                _ => Some("can only get, create, update, patch, or delete a CSINode".into()),
            },
            ("resource.k8s.io", "resourceslices") if !sub.is_empty() => Some("cannot authorize ResourceSlice subresources".into()),
            ("resource.k8s.io", "resourceslices") => match verb {
                "create" => None,
                "get" | "update" | "patch" | "delete" => related(self.names(node, "resource.k8s.io", "resourceslices", name)),
                _ => unless(selects(a, node), "can only list/watch/deletecollection resourceslices with nodeName field selector"),
            },
            ("", "nodes") => match (sub, verb) {
                ("", "create" | "update" | "patch") | ("status", "update" | "patch") => None,
                ("", "get" | "list" | "watch") if name == node => None,
                ("", "get" | "list" | "watch") if name.is_empty() => {
                    Some(format!("node '{node}' cannot read all nodes, only its own Node object"))
                }
                ("", "get" | "list" | "watch") => Some(format!("node '{node}' cannot read '{name}', only its own Node object")),
                _ => Some(String::new()),
            },
            ("", "pods") => match (sub, verb) {
                ("", "get") => related(self.on(node, ns, name)),
                ("", "list" | "watch") if selects(a, node) => None,
                ("", "list" | "watch") if !name.is_empty() => related(self.on(node, ns, name)),
                ("", "list" | "watch") => Some("can only list/watch pods with spec.nodeName field selector".into()),
                ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => None,
                _ => Some(String::new()),
            },
            _ => unless(self.rules.iter().any(|r| r.allows(a)), ""),
        }
    }

    fn on(&self, node: &str, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_string(), name.to_string());
        self.graph.read().pods.get(&key).is_some_and(|p| p.node == node)
    }

    /// The object says in its spec that it is of the node.
    fn names(&self, node: &str, group: &str, resource: &str, name: &str) -> bool {
        let object = self.objects.get(&GroupResource::new(group, resource), "", name);
        object.is_some_and(|a| value::text(&a.value(), &["spec", "nodeName"]) == node)
    }
}

/// Only what is on the node is asked for.
fn selects(a: &Attributes, node: &str) -> bool {
    fields::Selector::parse(&a.field_selector).is_ok_and(|s| s.required("spec.nodeName") == Some(node))
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        if !attributes.user.in_group(GROUP) || !attributes.user.name.starts_with(PREFIX) {
            return Decision::NoOpinion(String::new());
        }
        let Some(node) = identity(&attributes.user) else {
            return Decision::NoOpinion(format!("unknown node for user {:?}", attributes.user.name));
        };
        if !attributes.is_resource {
            let allowed = self.rules.iter().any(|r| r.allows(attributes));
            return if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) };
        }
        match self.refuses(node, attributes) {
            None => Decision::Allow,
            Some(why) => Decision::NoOpinion(why),
        }
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
        assert!(may("n1", "get", "nodes", "", "n1") && !may("n1", "get", "nodes", "", "n2") && !may("n1", "list", "pods", "", ""));
        // What is in the role for nodes.
        assert!(
            may("n1", "list", "services", "", "") && may("n1", "create", "events", "a", "") && !may("n1", "list", "namespaces", "", "")
        );
        let user = User::new("system:node:n1", &["system:nodes"]);
        let selecting = |selector: &str| Attributes { field_selector: selector.into(), ..ask(&user, "watch", "", "pods", "", "") };
        assert_eq!(authorizer.authorize(&selecting("spec.nodeName=n1")), Decision::Allow);
        let refused = Decision::NoOpinion("can only list/watch pods with spec.nodeName field selector".into());
        assert_eq!(authorizer.authorize(&selecting("spec.nodeName=n2")), refused);
    }
}

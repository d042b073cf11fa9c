//! Who owns whom, as far as the watches have told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::ApiResource;
use std::collections::{HashMap, HashSet};

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

#[derive(Clone, Debug)]
pub struct Node {
    pub resource: ApiResource,
    pub namespace: Option<String>,
    pub name: String,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

impl Node {
    pub fn of(resource: &ApiResource, meta: &ObjectMeta) -> Self {
        Self {
            resource: resource.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

    pub fn waits(&self, finalizer: &str) -> bool {
        self.deleting && self.finalizers.iter().any(|f| f == finalizer)
    }
}

#[derive(Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    /// Owner uid → uids of dependents.
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// Answers which uids to look at.
    pub fn put(&mut self, uid: &str, node: Node) -> Vec<String> {
        let mut look = Vec::new();
        let before = self.nodes.get(uid).cloned();
        if let Some(old) = &before {
            self.unlink(uid, old);
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.into());
        }
        let begins_to_wait = node.waits(FOREGROUND) && before.as_ref().is_none_or(|o| !o.waits(FOREGROUND));
        if !node.owners.is_empty() || node.waits(FOREGROUND) || node.waits(ORPHAN) {
            look.push(uid.into());
        }
        if begins_to_wait {
            look.extend(self.dependents(uid));
        }
        // An owner that waits may have waited for this one to stop blocking.
        let owners = before.iter().flat_map(|o| &o.owners).map(|o| &o.uid).chain(node.owners.iter().map(|o| &o.uid));
        look.extend(owners.filter(|o| self.nodes.get(*o).is_some_and(|n| n.waits(FOREGROUND))).cloned());
        self.nodes.insert(uid.into(), node);
        look
    }

    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        let mut look = self.dependents(uid);
        if let Some(old) = self.nodes.remove(uid) {
            self.unlink(uid, &old);
            look.extend(old.owners.into_iter().map(|o| o.uid).filter(|o| self.nodes.contains_key(o)));
        }
        look
    }

    fn unlink(&mut self, uid: &str, node: &Node) {
        for owner in &node.owners {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    pub fn get(&self, uid: &str) -> Option<Node> {
        self.nodes.get(uid).cloned()
    }

    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Whether an object that waits for its dependents is, by way of them, one of those it waits for.
    pub fn waits_for_itself(&self, uid: &str) -> bool {
        let (mut seen, mut next) = (HashSet::new(), vec![uid]);
        while let Some(owner) = next.pop() {
            for dependent in self.dependents.get(owner).into_iter().flatten() {
                let waits = self.nodes.get(dependent).is_some_and(|n| n.waits(FOREGROUND) && blocks(n, owner));
                if waits && dependent == uid {
                    return true;
                }
                if waits && seen.insert(dependent) {
                    next.push(dependent);
                }
            }
        }
        false
    }

    pub fn of(&self, resource: &ApiResource) -> HashSet<String> {
        let same = |n: &Node| n.resource.group == resource.group && n.resource.plural == resource.plural;
        self.nodes.iter().filter(|(_, n)| same(n)).map(|(u, _)| u.clone()).collect()
    }
}

/// Whether `dependent` holds up the foreground deletion of `owner`.
pub fn blocks(dependent: &Node, owner: &str) -> bool {
    dependent.owners.iter().any(|o| o.uid == owner && o.block_owner_deletion == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::GroupVersionKind;
    use serde_json::json;

    fn node(meta: serde_json::Value) -> Node {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
        Node::of(&resource, &serde_json::from_value(meta).unwrap())
    }

    fn child(uid: &str) -> serde_json::Value {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "o", "blockOwnerDeletion": true});
        json!({"name": uid, "uid": uid, "ownerReferences": [owner]})
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        let mut graph = Graph::default();
        assert_eq!(graph.put("o", node(json!({"name": "o"}))), Vec::<String>::new());
        assert_eq!(graph.put("a", node(child("a"))), ["a"]);
        assert_eq!(graph.remove("o"), ["a"]);
        assert!(graph.get("o").is_none());
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_a_blocker_goes() {
        let mut graph = Graph::default();
        graph.put("a", node(child("a")));
        let waiting = json!({"name": "o", "deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": [FOREGROUND]});
        assert_eq!(graph.put("o", node(waiting)), ["o", "a"]);
        assert!(blocks(&graph.get("a").unwrap(), "o"));
        assert_eq!(graph.remove("a"), ["o"]);
    }

    #[test]
    fn a_circle_of_waiting_owners_is_seen_until_one_stops_blocking() {
        let waiting = |name: &str, owner: &str, block: bool| {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": owner, "blockOwnerDeletion": block});
            let deleted = "2024-01-01T00:00:00Z";
            node(json!({"name": name, "deletionTimestamp": deleted, "finalizers": [FOREGROUND], "ownerReferences": [owner]}))
        };
        let mut graph = Graph::default();
        graph.put("a", waiting("a", "c", true));
        graph.put("b", waiting("b", "a", true));
        assert!(!graph.waits_for_itself("a"));
        graph.put("c", waiting("c", "b", true));
        assert!(["a", "b", "c"].iter().all(|uid| graph.waits_for_itself(uid)));
        graph.put("c", waiting("c", "b", false));
        assert!(!["a", "b", "c"].iter().any(|uid| graph.waits_for_itself(uid)));
    }
}

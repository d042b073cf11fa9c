//! Roles: who may do what, from the objects of `rbac.authorization.k8s.io`.

use super::MASTERS;
use crate::attributes::Attributes;
use crate::authorizer::{Authorizer, Decision};
use crate::objects::{ObjectChange, Objects};
use crate::user::User;
use meta::labels::Selector;
use meta::{GroupResource, value};
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

pub const GROUP: &str = "rbac.authorization.k8s.io";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub names: Vec<String>,
    pub paths: Vec<String>,
}

fn has(all: &[String], one: &str) -> bool {
    all.iter().any(|a| a == "*" || a == one)
}

impl Rule {
    pub fn of(rule: &Value) -> Self {
        let texts = |field| value::items(rule, &[field]).iter().filter_map(Value::as_str).map(str::to_string).collect();
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    pub fn all(role: &Value) -> Vec<Self> {
        value::items(role, &["rules"]).iter().map(Self::of).collect()
    }

    pub fn allows(&self, a: &Attributes) -> bool {
        if !has(&self.verbs, &a.verb) {
            return false;
        }
        if !a.is_resource {
            return self.paths.iter().any(|p| path_covers(p, &a.path));
        }
        has(&self.groups, &a.group)
            && self.resources.iter().any(|r| resource_covers(r, &a.resource, &a.subresource))
            && (self.names.is_empty() || self.names.contains(&a.name))
    }

    /// Whether `self` grants everything of `wanted`, which has one verb, group, resource and name at most.
    fn covers_single(&self, wanted: &Self) -> bool {
        let all = |mine: &[String], theirs: &[String]| theirs.iter().all(|t| has(mine, t));
        if !all(&self.verbs, &wanted.verbs) {
            return false;
        }
        if let Some(path) = wanted.paths.first() {
            return self.paths.iter().any(|p| path_covers(p, path));
        }
        let resource = |r: &String| {
            let (base, sub) = r.split_once('/').unwrap_or((r, ""));
            self.resources.iter().any(|m| m == r || resource_covers(m, base, sub))
        };
        let names = self.names.is_empty() || (!wanted.names.is_empty() && wanted.names.iter().all(|n| self.names.contains(n)));
        all(&self.groups, &wanted.groups) && wanted.resources.iter().all(resource) && names
    }

    fn singles(&self) -> Vec<Self> {
        let mut out = Vec::new();
        for verb in &self.verbs {
            let verbs = vec![verb.clone()];
            out.extend(self.paths.iter().map(|p| Self { verbs: verbs.clone(), paths: vec![p.clone()], ..Self::default() }));
            for group in &self.groups {
                for resource in &self.resources {
                    let one =
                        Self { verbs: verbs.clone(), groups: vec![group.clone()], resources: vec![resource.clone()], ..Self::default() };
                    if self.names.is_empty() {
                        out.push(one);
                    } else {
                        out.extend(self.names.iter().map(|n| Self { names: vec![n.clone()], ..one.clone() }));
                    }
                }
            }
        }
        out
    }
}

/// What of `wanted` is not granted by `held`.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted.iter().flat_map(Rule::singles).filter(|w| !held.iter().any(|h| h.covers_single(w))).collect()
}

fn path_covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

fn resource_covers(pattern: &str, resource: &str, subresource: &str) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || (subresource.is_empty() && pattern == resource),
        Some(("*", sub)) => !subresource.is_empty() && sub == subresource,
        Some((base, sub)) => base == resource && sub == subresource && !subresource.is_empty(),
    }
}

struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self.kind.as_str() {
            "User" => self.name == "*" || self.name == user.name,
            "Group" => user.in_group(&self.name),
            "ServiceAccount" => {
                let rest = user.name.strip_prefix("system:serviceaccount:");
                rest.and_then(|r| r.split_once(':')).is_some_and(|(ns, name)| ns == self.namespace && name == self.name)
            }
            _ => false,
        }
    }
}

struct Binding {
    name: String,
    subjects: Vec<Subject>,
    cluster_role: bool,
    role: String,
}

impl Binding {
    fn of(object: &Value, namespace: &str) -> Self {
        let subject = |s: &Value| {
            let given = value::text(s, &["namespace"]);
            Subject {
                kind: value::text(s, &["kind"]).into(),
                name: value::text(s, &["name"]).into(),
                namespace: if given.is_empty() { namespace.into() } else { given.into() },
            }
        };
        Self {
            name: value::text(object, &["metadata", "name"]).into(),
            subjects: value::items(object, &["subjects"]).iter().map(subject).collect(),
            cluster_role: value::text(object, &["roleRef", "kind"]) == "ClusterRole",
            role: value::text(object, &["roleRef", "name"]).into(),
        }
    }
}

struct ClusterRole {
    rules: Arc<Vec<Rule>>,
    labels: Value,
    aggregates: Vec<Selector>,
}

#[derive(Default)]
struct Index {
    roles: HashMap<(String, String), Arc<Vec<Rule>>>,
    cluster_roles: BTreeMap<String, ClusterRole>,
    /// By namespace, then name; cluster-wide bindings under the empty namespace.
    bindings: HashMap<String, BTreeMap<String, Binding>>,
}

impl Index {
    fn change(&mut self, kind: &str, change: &ObjectChange) {
        let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let (namespace, name) = (object.namespace().to_string(), object.name().to_string());
        let new = change.new.as_ref().map(|o| o.value());
        match (kind, new) {
            ("roles", Some(role)) => {
                self.roles.insert((namespace, name), Arc::new(Rule::all(&role)));
            }
            ("roles", None) => {
                self.roles.remove(&(namespace, name));
            }
            ("clusterroles", Some(role)) => {
                let selectors = value::items(&role, &["aggregationRule", "clusterRoleSelectors"]);
                let aggregates = selectors.iter().filter_map(|s| Selector::from_value(s).ok()).collect();
                let labels = value::at(&role, &["metadata", "labels"]).cloned().unwrap_or_default();
                self.cluster_roles.insert(name, ClusterRole { rules: Arc::new(Rule::all(&role)), labels, aggregates });
            }
            ("clusterroles", None) => {
                self.cluster_roles.remove(&name);
            }
            (_, Some(binding)) => {
                let binding = Binding::of(&binding, &namespace);
                self.bindings.entry(namespace).or_default().insert(name, binding);
            }
            (_, None) => {
                if let Some(all) = self.bindings.get_mut(&namespace) {
                    all.remove(&name);
                }
            }
        }
    }

    /// Aggregated roles are put together here, so that they hold before any controller has written them.
    fn cluster_rules(&self, name: &str, visit: &mut dyn FnMut(&Rule) -> bool, seen: &mut Vec<String>) -> bool {
        let Some(role) = self.cluster_roles.get(name) else { return false };
        if seen.iter().any(|s| s == name) {
            return false;
        }
        seen.push(name.to_string());
        if role.rules.iter().any(&mut *visit) {
            return true;
        }
        if role.aggregates.is_empty() {
            return false;
        }
        let parts = self.cluster_roles.iter().filter(|(_, r)| role.aggregates.iter().any(|s| s.matches_labels(&r.labels)));
        let parts: Vec<&String> = parts.map(|(n, _)| n).collect();
        parts.into_iter().any(|part| self.cluster_rules(part, visit, seen))
    }

    fn role_rules(&self, cluster: bool, namespace: &str, name: &str, visit: &mut dyn FnMut(&Rule) -> bool) -> bool {
        if cluster {
            return self.cluster_rules(name, visit, &mut Vec::new());
        }
        self.roles.get(&(namespace.to_string(), name.to_string())).is_some_and(|rules| rules.iter().any(visit))
    }

    /// Until `visit` says that it has seen enough; then the binding.
    fn visit(&self, user: &User, namespace: &str, visit: &mut dyn FnMut(&Rule) -> bool) -> Option<(bool, &Binding)> {
        let spaces: &[&str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for space in spaces {
            for binding in self.bindings.get(*space).into_iter().flat_map(BTreeMap::values) {
                if binding.subjects.iter().any(|s| s.is(user)) && self.role_rules(binding.cluster_role, space, &binding.role, visit) {
                    return Some((space.is_empty(), binding));
                }
            }
        }
        None
    }
}

#[derive(Clone)]
pub struct Rbac {
    index: Arc<RwLock<Index>>,
}

const KINDS: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

impl Rbac {
    /// Follows the objects for as long as their feed lasts. Needs a runtime; what is there already is known on return.
    pub fn start(objects: &dyn Objects) -> Self {
        let index = Arc::new(RwLock::new(Index::default()));
        for kind in KINDS {
            let mut changes = objects.changes(&GroupResource::new(GROUP, kind));
            drain(&index, kind, &mut changes);
            let index = index.clone();
            tokio::spawn(async move {
                while let Some(change) = changes.recv().await {
                    index.write().change(kind, &change);
                }
            });
        }
        Self { index }
    }

    /// As things are now; what changes later is not seen.
    pub fn snapshot(objects: &dyn Objects) -> Self {
        let index = RwLock::new(Index::default());
        for kind in KINDS {
            for object in objects.list(&GroupResource::new(GROUP, kind), None) {
                index.write().change(kind, &ObjectChange { old: None, new: Some(object) });
            }
        }
        Self { index: Arc::new(index) }
    }

    /// Every rule that holds for the user in the namespace (empty: cluster-wide).
    pub fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        if user.in_group(MASTERS) {
            let any = || vec!["*".to_string()];
            rules.push(Rule { verbs: any(), groups: any(), resources: any(), ..Rule::default() });
            rules.push(Rule { verbs: any(), paths: any(), ..Rule::default() });
        }
        self.index.read().visit(user, namespace, &mut |rule| {
            rules.push(rule.clone());
            false
        });
        rules
    }

    /// The rules of a role; none when there is no such role.
    pub fn role(&self, cluster: bool, namespace: &str, name: &str) -> Option<Vec<Rule>> {
        let index = self.index.read();
        let there = if cluster {
            index.cluster_roles.contains_key(name)
        } else {
            index.roles.contains_key(&(namespace.to_string(), name.to_string()))
        };
        let mut rules = Vec::new();
        index.role_rules(cluster, namespace, name, &mut |rule| {
            rules.push(rule.clone());
            false
        });
        there.then_some(rules)
    }
}

fn drain(index: &RwLock<Index>, kind: &str, changes: &mut UnboundedReceiver<ObjectChange>) {
    let mut index = index.write();
    while let Ok(change) = changes.try_recv() {
        index.change(kind, &change);
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.in_group(MASTERS) {
            return Decision::Allow;
        }
        let index = self.index.read();
        match index.visit(&attributes.user, &attributes.namespace, &mut |rule| rule.allows(attributes)) {
            Some((cluster, binding)) => {
                tracing::trace!(cluster, binding = binding.name, "allowed by a role binding");
                Decision::Allow
            }
            None => Decision::NoOpinion(String::new()),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::objects::{Header, Object};
    use serde_json::json;
    use tokio::sync::mpsc;

    /// Objects that never change.
    pub struct Fixed(Vec<(GroupResource, Arc<Object>)>);

    impl Fixed {
        pub fn of(all: &[(&str, &str, Value)]) -> Self {
            let object = |v: &Value| {
                let text = |f: &str| value::text(v, &["metadata", f]).into();
                let labels = value::at(v, &["metadata", "labels"]).and_then(Value::as_object).into_iter().flatten();
                let labels = labels.map(|(k, v)| (k.as_str().into(), v.as_str().unwrap_or_default().into())).collect();
                let header = Header { namespace: text("namespace"), name: text("name"), uid: text("uid"), labels, ..Header::default() };
                Arc::new(Object { bytes: v.to_string().into(), revision: 1, header: Arc::new(header) })
            };
            Self(all.iter().map(|(g, r, v)| (GroupResource::new(*g, *r), object(v))).collect())
        }
    }

    impl Objects for Fixed {
        fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Object>> {
            self.0.iter().find(|(r, o)| r == resource && o.namespace() == namespace && o.name() == name).map(|(_, o)| o.clone())
        }

        fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Object>> {
            let wanted = |(r, o): &&(GroupResource, Arc<Object>)| r == resource && namespace.is_none_or(|n| o.namespace() == n);
            self.0.iter().filter(wanted).map(|(_, o)| o.clone()).collect()
        }

        fn changes(&self, resource: &GroupResource) -> mpsc::UnboundedReceiver<ObjectChange> {
            let (sender, receiver) = mpsc::unbounded_channel();
            for object in self.list(resource, None) {
                let _ = sender.send(ObjectChange { old: None, new: Some(object) });
            }
            receiver
        }
    }

    pub fn ask(user: &User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            user: Arc::new(user.clone()),
            verb: verb.into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            is_resource: true,
            named: !name.is_empty(),
            ..Attributes::default()
        }
    }

    #[tokio::test]
    async fn bindings_grant_in_their_namespace_and_aggregates_hold() {
        let part = json!({"metadata": {"name": "part", "labels": {"to": "view"}}, "rules": [
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments", "*/scale"]}]});
        let view = json!({"metadata": {"name": "view"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}, "rules": []});
        let role = json!({"metadata": {"name": "r", "namespace": "a"}, "rules": [
            {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["p"]}]});
        let binding = |kind: &str, role: &str, name: &str| {
            json!({"metadata": {"name": name, "namespace": "a"}, "roleRef": {"kind": kind, "name": role}, "subjects": [
                {"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "s", "namespace": "b"}]})
        };
        let objects = Fixed::of(&[
            (GROUP, "clusterroles", part),
            (GROUP, "clusterroles", view),
            (GROUP, "roles", role),
            (GROUP, "rolebindings", binding("ClusterRole", "view", "x")),
            (GROUP, "rolebindings", binding("Role", "r", "y")),
        ]);
        let rbac = Rbac::start(&objects);
        let jane = User::new("jane", &[]);
        let may = |user: &User, verb: &str, group: &str, resource: &str, ns: &str, name: &str| {
            rbac.authorize(&ask(user, verb, group, resource, ns, name)) == Decision::Allow
        };
        assert!(may(&jane, "get", "apps", "deployments", "a", "d") && may(&jane, "get", "apps", "deployments/scale", "a", "d"));
        assert!(!may(&jane, "get", "apps", "deployments", "b", "d") && !may(&jane, "list", "apps", "deployments", "a", ""));
        assert!(
            may(&jane, "delete", "", "pods", "a", "p")
                && !may(&jane, "delete", "", "pods", "a", "q")
                && !may(&jane, "get", "", "pods/log", "a", "p")
        );
        assert!(may(&User::new("system:serviceaccount:b:s", &[]), "get", "apps", "deployments", "a", "d"));
        assert!(may(&User::system("root"), "get", "", "anything", "", ""));
        let held = rbac.rules(&jane, "a");
        let wanted = |v: &str, r: &str| Rule::of(&json!({"verbs": [v], "apiGroups": ["apps"], "resources": [r]}));
        assert!(missing(&held, &[wanted("get", "deployments")]).is_empty() && missing(&held, &[wanted("*", "deployments")]).len() == 1);
    }
}

//! Which requests a flow schema is about.

use crate::attributes::Attributes;
use crate::user::User;
use meta::value;
use serde_json::Value;

const ANY: &str = "*";

enum Subject {
    AnyUser,
    User(String),
    AnyGroup,
    Group(String),
    /// All accounts of a namespace, by the beginning of their users' names.
    Accounts(String),
}

/// A list of which `*` is everything.
enum Set {
    All,
    Only(Vec<String>),
}

impl Set {
    fn of(rule: &Value, field: &str) -> Self {
        let items: Vec<String> = value::items(rule, &[field]).iter().filter_map(Value::as_str).map(str::to_string).collect();
        if items.iter().any(|i| i == ANY) { Self::All } else { Self::Only(items) }
    }

    fn has(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(items) => items.iter().any(|i| i == text),
        }
    }
}

struct Resources {
    verbs: Set,
    groups: Set,
    resources: Set,
    namespaces: Set,
    cluster: bool,
}

struct Paths {
    verbs: Set,
    paths: Vec<String>,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    paths: Vec<Paths>,
}

/// The rules of a flow schema, ready to be asked.
pub struct Rules(Vec<Rule>);

impl Rules {
    /// `rules`: of a FlowSchema's spec.
    pub fn new(rules: &[Value]) -> Self {
        Self(rules.iter().map(Rule::new).collect())
    }

    pub fn match_(&self, attributes: &Attributes) -> bool {
        self.0.iter().any(|rule| rule.asks(attributes) && rule.subjects.iter().any(|s| s.is(&attributes.user)))
    }
}

impl Subject {
    fn new(subject: &Value) -> Option<Self> {
        let name = |part: &str| value::text(subject, &[part, "name"]).to_string();
        Some(match value::text(subject, &["kind"]) {
            "User" if name("user") == ANY => Self::AnyUser,
            "User" => Self::User(name("user")),
            "Group" if name("group") == ANY => Self::AnyGroup,
            "Group" => Self::Group(name("group")),
            "ServiceAccount" => {
                let namespace = value::text(subject, &["serviceAccount", "namespace"]);
                let start = format!("system:serviceaccount:{namespace}:");
                match name("serviceAccount").as_str() {
                    ANY => Self::Accounts(start),
                    name => Self::User(start + name),
                }
            }
            _ => return None,
        })
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::AnyUser => true,
            Self::AnyGroup => !user.groups.is_empty(),
            Self::User(name) => *name == user.name,
            Self::Group(name) => user.in_group(name),
            Self::Accounts(start) => user.name.starts_with(start.as_str()),
        }
    }
}

impl Rule {
    fn new(rule: &Value) -> Self {
        let resources = value::items(rule, &["resourceRules"]).iter().map(|r| Resources {
            verbs: Set::of(r, "verbs"),
            groups: Set::of(r, "apiGroups"),
            resources: Set::of(r, "resources"),
            namespaces: Set::of(r, "namespaces"),
            cluster: value::flag(r, &["clusterScope"]),
        });
        let paths = value::items(rule, &["nonResourceRules"]).iter().map(|r| Paths {
            verbs: Set::of(r, "verbs"),
            paths: value::items(r, &["nonResourceURLs"]).iter().filter_map(Value::as_str).map(str::to_string).collect(),
        });
        Self {
            subjects: value::items(rule, &["subjects"]).iter().filter_map(Subject::new).collect(),
            resources: resources.collect(),
            paths: paths.collect(),
        }
    }

    fn asks(&self, attributes: &Attributes) -> bool {
        if attributes.is_resource {
            return self.resources.iter().any(|r| r.fits(attributes));
        }
        self.paths.iter().any(|p| p.verbs.has(&attributes.verb) && p.paths.iter().any(|path| covers(path, &attributes.path)))
    }
}

impl Resources {
    fn fits(&self, a: &Attributes) -> bool {
        let resource = || match (&self.resources, a.subresource.as_str()) {
            (Set::All, _) => true,
            (set, "") => set.has(&a.resource),
            (set, _) => set.has(&a.full_resource()),
        };
        let place = || if a.namespace.is_empty() { self.cluster } else { self.namespaces.has(&a.namespace) };
        self.verbs.has(&a.verb) && self.groups.has(&a.group) && resource() && place()
    }
}

/// `*`, a path, or a path and everything below it (`/healthz/*`).
fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix(ANY) {
        Some("") => true,
        Some(start) => path.starts_with(start),
        None => pattern.trim_end_matches('/') == path.trim_end_matches('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn request(user: &str, groups: &[&str], verb: &str, resource: &str, namespace: &str) -> Attributes {
        Attributes {
            user: Arc::new(User::new(user, groups)),
            verb: verb.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            is_resource: true,
            ..Attributes::default()
        }
    }

    #[test]
    fn subjects_verbs_and_places_must_all_fit() {
        let rules = Rules::new(&[json!({
            "subjects": [
                {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}},
                {"kind": "Group", "group": {"name": "system:nodes"}},
            ],
            "resourceRules": [{"verbs": ["get", "update"], "apiGroups": ["*"], "resources": ["nodes", "nodes/status"], "namespaces": ["a"]}],
        })]);
        let account = "system:serviceaccount:kube-system:x";
        assert!(rules.match_(&request(account, &[], "get", "nodes", "a")));
        assert!(rules.match_(&request("n", &["system:nodes"], "update", "nodes", "a")));
        assert!(!rules.match_(&request("n", &["system:nodes"], "list", "nodes", "a")));
        assert!(!rules.match_(&request("n", &["system:nodes"], "get", "nodes", "b")));
        // Cluster-wide requests are in no namespace, and this rule does not take them.
        assert!(!rules.match_(&request(account, &[], "get", "nodes", "")));
        assert!(!rules.match_(&request("system:serviceaccount:other:x", &[], "get", "nodes", "a")));
        let mut status = request(account, &[], "update", "nodes", "a");
        status.subresource = "status".into();
        assert!(rules.match_(&status));
        status.subresource = "proxy".into();
        assert!(!rules.match_(&status));
    }

    #[test]
    fn paths_are_taken_exactly_or_from_their_beginning() {
        let rule = |path: &str| {
            let subject = json!({"kind": "User", "user": {"name": "*"}});
            Rules::new(&[json!({"subjects": [subject], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [path]}]})])
        };
        let get = |path: &str| Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
        assert!(rule("/healthz").match_(&get("/healthz")) && !rule("/healthz").match_(&get("/healthz/ping")));
        assert!(rule("/healthz/*").match_(&get("/healthz/ping")));
        assert!(rule("*").match_(&get("/anything")));
    }
}

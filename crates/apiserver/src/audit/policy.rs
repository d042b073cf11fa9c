//! The audit policy: what is written of which requests. The first rule that fits decides.

use crate::attributes::Attributes;
use crate::user::User;
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    #[default]
    None,
    /// Who, what, when and how it ended.
    Metadata,
    /// And the body of the request.
    Request,
    /// And that of the answer.
    RequestResponse,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    RequestReceived,
    /// The beginning of an answer that lasts.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    #[error("the audit policy cannot be read: {0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    #[error("the audit policy is a {0}, not a Policy of audit.k8s.io/v1")]
    Kind(String),
    #[error("the audit policy has no rules")]
    Empty,
    #[error("rule {0} of the audit policy has both nonResourceURLs and resources or namespaces")]
    Both(usize),
    #[error("rule {rule} of the audit policy: {url:?} is no path, and no path that ends with *")]
    Url { rule: usize, url: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    /// A policy may have a name; nothing depends on it.
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What is written of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub level: Level,
    pub omit: Vec<Stage>,
    pub omit_managed_fields: bool,
}

impl Policy {
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let policy: Self = serde_yaml_ng::from_str(text)?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err(BadPolicy::Kind(format!("{} of {}", policy.kind, policy.api_version)));
        }
        if policy.rules.is_empty() {
            return Err(BadPolicy::Empty);
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            if !(rule.urls.is_empty() || rule.resources.is_empty() && rule.namespaces.is_empty()) {
                return Err(BadPolicy::Both(i));
            }
            let bad = |url: &&String| *url != "*" && (!url.starts_with('/') || url[..url.len() - 1].contains('*'));
            if let Some(url) = rule.urls.iter().find(bad) {
                return Err(BadPolicy::Url { rule: i, url: url.clone() });
            }
        }
        Ok(policy)
    }

    /// `user`: who sent the request, whoever it is to act as.
    pub fn verdict(&self, user: &User, attributes: &Attributes) -> Verdict {
        let Some(rule) = self.rules.iter().find(|r| r.fits(user, attributes)) else { return Verdict::default() };
        let mut omit = self.omit_stages.clone();
        omit.extend(rule.omit_stages.iter().copied());
        Verdict { level: rule.level, omit, omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields) }
    }
}

impl Rule {
    fn fits(&self, user: &User, a: &Attributes) -> bool {
        let any = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|i| i == wanted);
        if !any(&self.users, &user.name) || !any(&self.verbs, &a.verb) {
            return false;
        }
        if !self.user_groups.is_empty() && !self.user_groups.iter().any(|g| user.in_group(g)) {
            return false;
        }
        if !self.resources.is_empty() || !self.namespaces.is_empty() {
            return a.is_resource && any(&self.namespaces, &a.namespace) && self.takes(a);
        }
        self.urls.is_empty() || (!a.is_resource && self.urls.iter().any(|url| covers(url, &a.path)))
    }

    fn takes(&self, a: &Attributes) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|r| r.group == a.group && r.takes(a))
    }
}

impl GroupResources {
    fn takes(&self, a: &Attributes) -> bool {
        if self.resources.is_empty() {
            return true;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&a.name);
        let full = a.full_resource();
        let is = |wanted: &String| {
            *wanted == "*"
                || *wanted == full
                || (!a.subresource.is_empty() && wanted.strip_prefix("*/") == Some(&a.subresource))
                || wanted.strip_suffix("/*") == Some(&a.resource)
        };
        named && self.resources.iter().any(is)
    }
}

fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources: [{group: "", resources: [endpoints, services]}]
- level: None
  nonResourceURLs: ["/healthz*", /version]
- level: RequestResponse
  omitManagedFields: false
  omitStages: [ResponseStarted]
  resources: [{group: apps, resources: ["deployments/*"]}, {resources: ["*/status"]}]
- level: Request
  userGroups: ["system:serviceaccounts"]
  namespaces: [secure]
- level: Metadata
  resources: [{group: "", resources: [secrets], resourceNames: [top]}]
"#;

    fn asks(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            is_resource: true,
            ..Attributes::default()
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = Policy::parse(TEXT).unwrap();
        let jane = User::new("jane", &[]);
        let account = User::new("system:serviceaccount:a:b", &["system:serviceaccounts"]);
        let level = |user: &User, a: &Attributes| policy.verdict(user, a).level;
        assert_eq!(level(&User::new("system:kube-proxy", &[]), &asks("watch", "", "services", "", "")), Level::None);
        assert_eq!(level(&jane, &asks("get", "apps", "deployments/scale", "x", "d")), Level::RequestResponse);
        assert_eq!(level(&jane, &asks("get", "", "pods/status", "x", "p")), Level::RequestResponse);
        assert_eq!(level(&account, &asks("get", "", "pods", "secure", "p")), Level::Request);
        assert_eq!(level(&jane, &asks("get", "", "pods", "secure", "p")), Level::None);
        assert_eq!(level(&jane, &asks("get", "", "secrets", "x", "top")), Level::Metadata);
        assert_eq!(level(&jane, &asks("get", "", "secrets", "x", "other")), Level::None);
        let verdict = policy.verdict(&jane, &asks("get", "apps", "deployments/scale", "x", "d"));
        assert_eq!((verdict.omit, verdict.omit_managed_fields), (vec![Stage::RequestReceived, Stage::ResponseStarted], false));
    }

    #[test]
    fn a_policy_that_cannot_work_is_refused() {
        let with = |rules: &str| Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n")).map(drop);
        assert!(with("[{level: Metadata}]").is_ok());
        for bad in ["[]", "[{level: Everything}]", "[{level: None, user: [a]}]", "[{level: None, nonResourceURLs: [/a], namespaces: [b]}]"]
        {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(with("[{level: None, nonResourceURLs: ['/a*b']}]").is_err());
        assert!(Policy::parse("apiVersion: v1\nkind: Policy\nrules: [{level: None}]\n").is_err());
    }
}

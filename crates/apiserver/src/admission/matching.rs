//! Which requests a webhook or a policy is about.

use super::{Operation, Request};
use crate::catalog::Resource;
use meta::labels::Selector;
use meta::{ApiError, GroupResource, GroupVersionKind, value};
use serde_json::Value;
use std::sync::Arc;

/// `RuleWithOperations`, or one that names objects besides.
#[derive(Debug, Default)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    /// Empty: all.
    names: Vec<String>,
}

/// What a rule is held against.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    pub operation: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

fn any_or(items: &[String], wanted: &str) -> bool {
    items.iter().any(|i| i == "*" || i == wanted)
}

pub fn texts(object: &Value, key: &str) -> Vec<String> {
    value::items(object, &[key]).iter().filter_map(|v| v.as_str().map(str::to_string)).collect()
}

impl Rule {
    pub fn parse(rule: &Value) -> Self {
        Self {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources"),
            scope: value::text(rule, &["scope"]).into(),
            names: texts(rule, "resourceNames"),
        }
    }

    pub fn all(rules: &[Value]) -> Vec<Self> {
        rules.iter().map(Self::parse).collect()
    }

    pub fn matches(&self, target: &Target<'_>) -> bool {
        self.scope_matches(target)
            && any_or(&self.operations, target.operation)
            && any_or(&self.groups, target.group)
            && any_or(&self.versions, target.version)
            && self.resources.iter().any(|r| resource_matches(r, target))
            && (self.names.is_empty() || self.names.iter().any(|n| n == target.name))
    }

    fn scope_matches(&self, target: &Target<'_>) -> bool {
        let cluster = target.namespace.is_empty() || (target.group.is_empty() && target.resource == "namespaces");
        match self.scope.as_str() {
            "Namespaced" => !cluster,
            "Cluster" => cluster,
            _ => true,
        }
    }
}

fn resource_matches(pattern: &str, target: &Target<'_>) -> bool {
    let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == target.resource) && (sub == "*" || sub == target.subresource)
}

/// A request as matching sees it.
pub struct Asked<'a> {
    pub request: &'a Request<'a>,
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
}

/// Which resource a webhook sees the request as.
#[derive(Clone)]
pub struct Match {
    pub resource: Arc<Resource>,
    pub kind: GroupVersionKind,
}

/// What matching needs of a webhook or a policy.
pub struct Criteria {
    pub rules: Vec<Rule>,
    pub excluded: Vec<Rule>,
    pub namespaces: Selector,
    pub objects: Selector,
    /// Rules about other versions of the same objects count too.
    pub equivalent: bool,
    /// No rules at all is about everything rather than about nothing.
    pub open: bool,
}

impl Criteria {
    /// `rules` and `excluded` are the names of the fields that hold them.
    pub fn parse(of: &Value, rules: &str, excluded: &str) -> Self {
        // Selectors have been validated when they were written.
        let selector = |key: &str| match of.get(key) {
            Some(selector) => Selector::from_value(selector).unwrap_or_else(|_| Selector::nothing()),
            None => Selector::everything(),
        };
        Self {
            rules: Rule::all(value::items(of, &[rules])),
            excluded: Rule::all(value::items(of, &[excluded])),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            equivalent: value::text(of, &["matchPolicy"]) != "Exact",
            open: false,
        }
    }
}

impl<'a> Asked<'a> {
    pub fn new(request: &'a Request<'a>, object: &'a Value, old: Option<&'a Value>) -> Self {
        let object = (request.operation != Operation::Delete).then_some(object);
        Self { request, object, old }
    }

    fn target<'t>(&'t self, resource: &'t Resource) -> Target<'t> {
        let names = resource.kind.names();
        Target {
            operation: self.request.operation.as_str(),
            group: &names.group,
            version: &names.version,
            resource: &names.plural,
            subresource: &self.request.attributes.subresource,
            namespace: self.request.effective_namespace(),
            name: self.request.name,
        }
    }

    fn equivalents(&self) -> &[Arc<Resource>] {
        self.request.equivalents.get_or_init(|| {
            let Some(cache) = &self.request.resource.cache else { return Vec::new() };
            let sub = &self.request.attributes.subresource;
            let same = |r: &Arc<Resource>| {
                r.cache.as_ref().is_some_and(|c| Arc::ptr_eq(c, cache))
                    && !Arc::ptr_eq(r, self.request.resource)
                    && (sub.is_empty() || r.subresource(sub).is_some())
            };
            self.request.server.catalog().all().into_iter().filter(same).collect()
        })
    }

    /// None: not about this request.
    pub fn matches(&self, criteria: &Criteria) -> Result<Option<Match>, ApiError> {
        let in_namespace = self.in_namespace(&criteria.namespaces);
        if matches!(in_namespace, Ok(false)) {
            return Ok(None);
        }
        let selected = |object: Option<&Value>| {
            let empty = Value::Null;
            object.is_some_and(|o| criteria.objects.matches_labels(value::at(o, &["metadata", "labels"]).unwrap_or(&empty)))
        };
        if !criteria.objects.is_empty() && !selected(self.object) && !selected(self.old) {
            return Ok(None);
        }
        if self.by_rules(&criteria.excluded, criteria.equivalent).is_some() {
            return Ok(None);
        }
        let resource = if criteria.open && criteria.rules.is_empty() {
            Some(self.request.resource.clone())
        } else {
            self.by_rules(&criteria.rules, criteria.equivalent)
        };
        let Some(resource) = resource else { return Ok(None) };
        in_namespace?;
        let kind = if Arc::ptr_eq(&resource, self.request.resource) || !self.request.is_whole() {
            self.request.kind.clone()
        } else {
            let names = resource.kind.names();
            GroupVersionKind::new(&*names.group, &*names.version, &*names.kind)
        };
        Ok(Some(Match { resource, kind }))
    }

    fn by_rules(&self, rules: &[Rule], equivalent: bool) -> Option<Arc<Resource>> {
        if rules.is_empty() {
            return None;
        }
        let own = self.target(self.request.resource);
        if rules.iter().any(|r| r.matches(&own)) {
            return Some(self.request.resource.clone());
        }
        if !equivalent {
            return None;
        }
        // Earlier rules first.
        rules.iter().find_map(|rule| self.equivalents().iter().find(|other| rule.matches(&self.target(other))).cloned())
    }

    fn in_namespace(&self, selector: &Selector) -> Result<bool, ApiError> {
        let request = self.request;
        let namespaces = request.of("", "namespaces");
        let name = request.effective_namespace();
        if selector.is_empty() || (name.is_empty() && !namespaces) {
            return Ok(true);
        }
        let whole = request.attributes.subresource.is_empty();
        if namespaces && whole && matches!(request.operation, Operation::Create | Operation::Update) {
            let labels = self.object.and_then(|o| value::at(o, &["metadata", "labels"])).cloned().unwrap_or_default();
            return Ok(selector.matches_labels(&labels));
        }
        let resource = GroupResource::new("", "namespaces");
        match request.server.objects().get(&resource, "", name) {
            Some(namespace) => Ok(selector.matches(|key| namespace.label(key))),
            None => Err(ApiError::not_found(&resource, name)),
        }
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;

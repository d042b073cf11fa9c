//! Which requests belong to which priority level.

use super::GROUP;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct FlowSchema;

const PRECEDENCE_MAX: i64 = 10_000;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const SUBJECTS: [(&str, &str); 3] = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

impl Kind for FlowSchema {
    built_in!("io.k8s.api.flowcontrol.v1.FlowSchema", Names::new(GROUP, "v1", "FlowSchema", "flowschemas", Scope::Cluster));

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if value::int(object, &["spec", "matchingPrecedence"]).unwrap_or(0) == 0 {
            value::set(object, &["spec", "matchingPrecedence"], 1000);
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let (precedence, precedence_at) = (value::int(spec, &["matchingPrecedence"]).unwrap_or(0), at.child("matchingPrecedence"));
        if precedence <= 0 {
            errors.invalid(&precedence_at, precedence, "must be a positive value");
        }
        if precedence > PRECEDENCE_MAX {
            errors.invalid(&precedence_at, precedence, &format!("must not be greater than {PRECEDENCE_MAX}"));
        }
        if precedence == 1 && value::text(object, &["metadata", "name"]) != "exempt" {
            errors.invalid(&precedence_at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
        }
        if let Some(method) = spec.get("distinguisherMethod")
            && !matches!(value::text(method, &["type"]), "ByNamespace" | "ByUser")
        {
            errors.not_supported(&at.child("distinguisherMethod").child("type"), method.clone(), &["ByNamespace", "ByUser"]);
        }
        let level_at = at.child("priorityLevelConfiguration").child("name");
        match value::text(spec, &["priorityLevelConfiguration", "name"]) {
            "" => errors.required(&level_at, "must reference a priority level"),
            name => rules::messages(validate::dns_subdomain(name, false), name, &level_at, &mut errors),
        }
        for (i, rule) in value::items(spec, &["rules"]).iter().enumerate() {
            check_rule(rule, &at.child("rules").index(i), &mut errors);
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        condition_types(new)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["PriorityLevel", "MatchingPrecedence", "DistinguisherMethod"].map(|name| Column::new(name, "string")));
        columns.extend([Column::age(), Column::new("MissingPL", "string")]);
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let dangling = rules::condition(object, "Dangling");
        vec![
            table::name(object),
            table::text(object, &["spec", "priorityLevelConfiguration", "name"]),
            table::int(object, &["spec", "matchingPrecedence"]),
            table::text_or(object, &["spec", "distinguisherMethod", "type"], "<none>"),
            table::age(object, now).into(),
            if dangling.is_empty() { "?".into() } else { dangling.into() },
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

/// Conditions need a type, each its own.
pub fn condition_types(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let conditions = value::items(object, &["status", "conditions"]);
    for (i, condition) in conditions.iter().enumerate() {
        let (ty, at) = (value::text(condition, &["type"]), path("status.conditions").index(i).child("type"));
        if conditions[..i].iter().any(|c| value::text(c, &["type"]) == ty) {
            errors.duplicate(&at, ty);
        }
        if ty.is_empty() {
            errors.required(&at, "");
        }
    }
    errors
}

fn check_rule(rule: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (subjects, resources, others) =
        (value::items(rule, &["subjects"]), value::items(rule, &["resourceRules"]), value::items(rule, &["nonResourceRules"]));
    if subjects.is_empty() {
        errors.required(&at.child("subjects"), "subjects must contain at least one value");
    }
    for (i, subject) in subjects.iter().enumerate() {
        check_subject(subject, &at.child("subjects").index(i), errors);
    }
    if resources.is_empty() && others.is_empty() {
        errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (i, rule) in resources.iter().enumerate() {
        let at = at.child("resourceRules").index(i);
        check_verbs(rule, &at, errors);
        check_list(rule, "apiGroups", "resource rules must supply at least one api group", "api groups", &at, errors);
        check_list(rule, "resources", "resource rules must supply at least one resource", "resources", &at, errors);
        if !value::flag(rule, &["clusterScope"]) || !value::items(rule, &["namespaces"]).is_empty() {
            let missing = "resource rules that are not cluster scoped must supply at least one namespace";
            check_list(rule, "namespaces", missing, "namespaces", &at, errors);
        }
    }
    for (i, rule) in others.iter().enumerate() {
        let at = at.child("nonResourceRules").index(i);
        check_verbs(rule, &at, errors);
        let missing = "nonResourceURLs must contain at least one value";
        check_list(rule, "nonResourceURLs", missing, "non-resource URLs", &at, errors);
        let urls: Vec<&str> = value::items(rule, &["nonResourceURLs"]).iter().filter_map(Value::as_str).collect();
        for (i, url) in urls.iter().enumerate().filter(|_| !urls.contains(&"*")) {
            check_url(url, &at.child("nonResourceURLs").index(i), errors);
        }
    }
}

fn check_url(url: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let why = match url {
        "" => "must not be empty",
        "/" => return,
        _ if !url.starts_with('/') => "must start with slash",
        _ if url.contains(' ') => "must not contain white-space",
        _ if url.contains("//") => "must not contain double slash",
        _ if url.strip_suffix("/*").unwrap_or(url).contains('*') => "wildcard can only do suffix matching",
        _ => return,
    };
    errors.invalid(at, url, why);
}

fn check_verbs(rule: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    check_list(rule, "verbs", "verbs must contain at least one value", "verbs", at, errors);
    let verbs = value::items(rule, &["verbs"]);
    if verbs.iter().any(|v| v != "*" && !VERBS.iter().any(|known| v == known)) && !verbs.iter().any(|v| v == "*") {
        errors.not_supported(&at.child("verbs"), verbs.to_vec(), &VERBS);
    }
}

fn check_list(rule: &Value, list: &str, missing: &str, what: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let items = value::items(rule, &[list]);
    if items.is_empty() {
        errors.required(&at.child(list), missing);
    } else if items.len() > 1 && items.iter().any(|item| item == "*") {
        errors.invalid(&at.child(list), items.to_vec(), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn check_subject(subject: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let kind = value::text(subject, &["kind"]);
    if !SUBJECTS.iter().any(|(known, _)| *known == kind) {
        errors.not_supported(&at.child("kind"), kind, &SUBJECTS.map(|(known, _)| known));
        return;
    }
    for (known, field) in SUBJECTS {
        let at = at.child(field);
        match (known == kind, subject.get(field)) {
            (true, None) => errors.required(&at, &format!("{field} is required when subject kind is '{known}'")),
            (false, Some(_)) => errors.forbidden(&at, &format!("{field} is forbidden when subject kind is not '{known}'")),
            (true, Some(body)) => {
                if value::text(body, &["name"]).is_empty() {
                    errors.required(&at.child("name"), "");
                }
                if known == "ServiceAccount" && value::text(body, &["namespace"]).is_empty() {
                    errors.required(&at.child("namespace"), "must specify namespace for service account");
                }
            }
            (false, None) => {}
        }
    }
}

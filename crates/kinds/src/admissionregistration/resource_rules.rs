//! Which requests a webhook or policy is about.

use super::expressions::{Compiler, Wanted};
use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Value, json};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

pub fn default_rules(object: &mut Value, path: &[&str]) {
    for rule in value::items_mut(object, path) {
        value::default(rule, &["scope"], "*");
    }
}

pub fn default_match(resources: &mut Value) {
    value::default(resources, &["matchPolicy"], "Equivalent");
    value::default(resources, &["namespaceSelector"], json!({}));
    value::default(resources, &["objectSelector"], json!({}));
    default_rules(resources, &["resourceRules"]);
    default_rules(resources, &["excludeResourceRules"]);
}

/// `MatchResources` of policies and bindings.
pub fn check_match(resources: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    rules::one_of(value::text(resources, &["matchPolicy"]), &["Equivalent", "Exact"], &at.child("matchPolicy"), errors);
    for name in ["namespaceSelector", "objectSelector"] {
        match resources.get(name) {
            Some(selector) => errors.extend(validate::label_selector(selector, &at.child(name))),
            None => errors.required(&at.child(name), ""),
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in value::items(resources, &[list]).iter().enumerate() {
            let at = at.child(list).index(i);
            let names = value::items(rule, &["resourceNames"]);
            for (i, name) in names.iter().enumerate() {
                let (text, at) = (name.as_str().unwrap_or_default(), at.child("resourceNames").index(i));
                rules::messages(validate::path_segment(text, false), text, &at, errors);
                if names[..i].contains(name) {
                    errors.duplicate(&at, text);
                }
            }
            check(rule, &at, errors);
        }
    }
}

/// `RuleWithOperations`
pub fn check(rule: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (list, what) in [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (items, at) = (value::items(rule, &[list]), at.child(list));
        if items.is_empty() {
            errors.required(&at, "");
        }
        if items.len() > 1 && items.iter().any(|item| item == "*") {
            errors.invalid(&at, items.to_vec(), &format!("if '*' is present, must not specify other {what}"));
        }
        for (i, item) in items.iter().enumerate() {
            match list {
                "operations" if !OPERATIONS.iter().any(|o| item == o) => errors.not_supported(&at.index(i), item.clone(), &OPERATIONS),
                "apiVersions" if item == "" => errors.required(&at.index(i), ""),
                _ => {}
            }
        }
    }
    resources(value::items(rule, &["resources"]), &at.child("resources"), errors);
    let scope = value::text(rule, &["scope"]);
    if rule.get("scope").is_some() && !matches!(scope, "*" | "Cluster" | "Namespaced") {
        errors.not_supported(&at.child("scope"), scope, &["*", "Cluster", "Namespaced"]);
    }
}

fn resources(resources: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    if resources.is_empty() {
        errors.required(at, "");
    }
    let (mut any_sub_of, mut sub_of_any): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut plain = false;
    for (i, found) in resources.iter().enumerate() {
        let text = found.as_str().unwrap_or_default();
        if text.is_empty() {
            errors.required(&at.index(i), "");
            continue;
        }
        let Some((resource, sub)) = text.split_once('/') else {
            plain |= text != "*";
            continue;
        };
        if any_sub_of.contains(&resource) {
            errors.invalid(&at.index(i), text, &format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if sub_of_any.contains(&sub) {
            errors.invalid(&at.index(i), text, &format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == "*" {
            any_sub_of.push(resource);
        }
        if resource == "*" {
            sub_of_any.push(sub);
        }
    }
    let has = |name: &str| resources.iter().any(|r| r == name);
    if resources.len() > 1 && has("*/*") {
        errors.invalid(at, resources.to_vec(), "if '*/*' is present, must not specify other resources");
    }
    if has("*") && plain {
        errors.invalid(at, resources.to_vec(), "if '*' is present, must not specify other resources without subresources");
    }
}

pub fn match_conditions(conditions: &[Value], compiler: &Compiler, at: &FieldPath, errors: &mut FieldErrors) {
    const MAX: usize = 64;
    if conditions.len() > MAX {
        errors.too_many(at, conditions.len(), MAX);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        let name = value::text(condition, &["name"]);
        expression(condition, "expression", "", &at, errors);
        compiler.check(condition, "expression", Wanted::Bool, &at, errors);
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            rules::messages(validate::qualified_name(name), name, &at.child("name"), errors);
            if conditions[..i].iter().any(|c| value::text(c, &["name"]) == name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
    }
}

/// An expression must be there; whether it compiles is for [`Compiler::check`] to say.
pub fn expression(object: &Value, name: &str, missing: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if get(object, name).as_str().unwrap_or_default().trim().is_empty() {
        errors.required(&at.child(name), missing);
    }
}

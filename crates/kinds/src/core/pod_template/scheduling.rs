//! Where pods go: selectors, affinities, tolerations, spreading.

use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;
use std::collections::HashSet;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn effect(found: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if !EFFECTS.contains(&found) {
        errors.not_supported_in_order(at, found, &EFFECTS);
    }
}

fn label_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    rules::messages(validate::qualified_name(name), name, at, errors);
}

pub fn tolerations(all: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, toleration) in all.iter().enumerate() {
        let here = at.index(i);
        let text = |name: &str| value::text(toleration, &[name]);
        let (key, operator, found) = (text("key"), text("operator"), text("value"));
        if !key.is_empty() {
            label_name(key, &here.child("key"), errors);
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&here.child("operator"), operator, why);
        }
        if has(toleration, "tolerationSeconds") && text("effect") != "NoExecute" {
            errors.invalid(&here.child("effect"), text("effect"), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator {
            "" | "Equal" => {
                let wrong = validate::label_value(found);
                if !wrong.is_empty() {
                    errors.invalid(&here.child("operator"), found, &wrong.join(";"));
                }
            }
            "Exists" if !found.is_empty() => {
                errors.invalid(&here.child("operator"), found, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            "Lt" | "Gt" => errors.not_supported_in_order(&here.child("operator"), operator, &["Equal", "Exists", "Lt", "Gt"]),
            other => errors.not_supported_in_order(&here.child("operator"), other, &["Equal", "Exists"]),
        }
        if !text("effect").is_empty() {
            effect(text("effect"), &here.child("effect"), errors);
        }
    }
}

/// `nodeSelectorTerms` that a node has to match one of.
pub fn node_selector(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let here = at.child("nodeSelectorTerms");
    let terms = value::items(found, &["nodeSelectorTerms"]);
    if terms.is_empty() {
        errors.required(&here, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, true, &here.index(i), errors);
    }
}

pub fn affinity(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (node, here) = (get(found, "nodeAffinity"), at.child("nodeAffinity"));
    if has(node, REQUIRED) {
        node_selector(get(node, REQUIRED), &here.child(REQUIRED), errors);
    }
    for (i, weighted) in value::items(node, &[PREFERRED]).iter().enumerate() {
        let here = here.child(PREFERRED).index(i);
        weight(weighted, &here, errors);
        node_term(get(weighted, "preference"), false, &here.child("preference"), errors);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let here = at.child(name);
        for (i, term) in value::items(found, &[name, REQUIRED]).iter().enumerate() {
            pod_term(term, &here.child(REQUIRED).index(i), errors);
        }
        for (i, weighted) in value::items(found, &[name, PREFERRED]).iter().enumerate() {
            let here = here.child(PREFERRED).index(i);
            weight(weighted, &here, errors);
            pod_term(get(weighted, "podAffinityTerm"), &here.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let weight = value::int(found, &["weight"]).unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(&at.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_term(term: &Value, check_values: bool, at: &FieldPath, errors: &mut FieldErrors) {
    for (i, expression) in value::items(term, &["matchExpressions"]).iter().enumerate() {
        let here = at.child("matchExpressions").index(i);
        let values = value::items(expression, &["values"]);
        let (given, operator) = (values.len(), value::text(expression, &["operator"]));
        let path = here.child("values");
        match operator {
            "In" | "NotIn" if given == 0 => errors.required(&path, "must be specified when `operator` is 'In' or 'NotIn'"),
            "Exists" | "DoesNotExist" if given > 0 => {
                errors.forbidden(&path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if given != 1 => errors.required(&path, "must be specified single value when `operator` is 'Lt' or 'Gt'"),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.invalid(&here.child("operator"), other, "not a valid selector operator"),
        }
        label_name(value::text(expression, &["key"]), &here.child("key"), errors);
        for (i, found) in values.iter().filter_map(Value::as_str).enumerate().filter(|_| check_values) {
            rules::messages(validate::label_value(found), found, &path.index(i), errors);
        }
    }
    for (i, field) in value::items(term, &["matchFields"]).iter().enumerate() {
        let here = at.child("matchFields").index(i);
        let values = value::items(field, &["values"]);
        match value::text(field, &["operator"]) {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(&here.child("values"), why);
            }
            "In" | "NotIn" => {}
            other => errors.invalid(&here.child("operator"), other, "not a valid selector operator"),
        }
        match value::text(field, &["key"]) {
            "metadata.name" => {
                for (i, name) in values.iter().filter_map(Value::as_str).enumerate() {
                    rules::dns_subdomain(name, &here.child("values").index(i), errors);
                }
            }
            other => errors.invalid(&here.child("key"), other, "not a valid field selector key"),
        }
    }
}

fn pod_term(term: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for name in ["labelSelector", "namespaceSelector"].into_iter().filter(|name| has(term, name)) {
        errors.extend(validate::label_selector(get(term, name), &at.child(name)));
    }
    for name in value::items(term, &["namespaces"]).iter().filter_map(Value::as_str) {
        rules::dns_label(name, &at.child("namespace"), errors);
    }
    label_keys(term, &["matchLabelKeys", "mismatchLabelKeys"], at, errors);
    let key = value::text(term, &["topologyKey"]);
    if key.is_empty() {
        errors.required(&at.child("topologyKey"), "can not be empty");
    }
    label_name(key, &at.child("topologyKey"), errors);
}

/// Keys whose values are taken from the pod itself.
fn label_keys(of: &Value, names: &[&str], at: &FieldPath, errors: &mut FieldErrors) {
    let selector = get(of, "labelSelector");
    let keys = |name: &str| value::items(of, &[name]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    for name in names {
        let here = at.child(name);
        if !keys(name).is_empty() && selector.is_null() {
            errors.forbidden(&here, "must not be specified when labelSelector is not set");
            continue;
        }
        for (i, key) in keys(name).into_iter().enumerate() {
            label_name(key, &here.index(i), errors);
        }
    }
    let matched = keys("matchLabelKeys");
    let mut selected: HashSet<&str> = rules::texts(selector, &["matchLabels"]).map(|(key, _)| key).collect();
    for expression in value::items(selector, &["matchExpressions"]) {
        let key = value::text(expression, &["key"]);
        if let Some(i) = matched.iter().rposition(|k| *k == key).filter(|_| selected.contains(key)) {
            errors.invalid(&at.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
        selected.insert(key);
    }
    let mismatched = keys("mismatchLabelKeys");
    for (i, key) in matched.iter().enumerate().filter(|(_, key)| mismatched.contains(key)) {
        errors.invalid(&at.child("matchLabelKeys").index(i), *key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

pub fn spread(all: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, constraint) in all.iter().enumerate() {
        let here = at.index(i);
        let text = |name: &str| value::text(constraint, &[name]);
        let positive = |number: i64, path: &FieldPath, errors: &mut FieldErrors| {
            if number <= 0 {
                errors.invalid(path, number, "must be greater than zero");
            }
        };
        positive(value::int(constraint, &["maxSkew"]).unwrap_or(0), &here.child("maxSkew"), errors);
        let (key, action) = (text("topologyKey"), text("whenUnsatisfiable"));
        if key.is_empty() {
            errors.required(&here.child("topologyKey"), "can not be empty");
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action) {
            errors.not_supported(&here.child("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let twin = |other: &Value| value::text(other, &["topologyKey"]) == key && value::text(other, &["whenUnsatisfiable"]) == action;
        if all[i + 1..].iter().any(twin) {
            errors.duplicate(&here.child("{topologyKey, whenUnsatisfiable}"), format!("{{{key}, {action}}}"));
        }
        if let Some(domains) = value::int(constraint, &["minDomains"]) {
            positive(domains, &here.child("minDomains"), errors);
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&here.child("minDomains"), domains, &why);
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            rules::known(constraint, name, &["Honor", "Ignore"], &here, errors);
        }
        label_keys(constraint, &["matchLabelKeys"], &here, errors);
        if has(constraint, "labelSelector") {
            errors.extend(validate::label_selector(get(constraint, "labelSelector"), &here.child("labelSelector")));
        }
    }
}

//! What a pod spec may not be.

use super::{containers, volumes};
use crate::rules::{self, get};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
const OPERATORS: [&str; 6] = ["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"];

pub fn validate_spec(spec: &Value, metadata: &Value, at: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let _ = metadata;
    volumes::all(value::items(spec, &["volumes"]), &at.child("volumes"), &mut errors);
    containers::all(spec, at, &mut errors);
    let restart = value::text(spec, &["restartPolicy"]);
    rules::one_of(restart, &RESTART_POLICIES, &at.child("restartPolicy"), &mut errors);
    rules::one_of(value::text(spec, &["dnsPolicy"]), &DNS_POLICIES, &at.child("dnsPolicy"), &mut errors);
    if value::text(spec, &["dnsPolicy"]) == "None" && value::items(spec, &["dnsConfig", "nameservers"]).is_empty() {
        errors.required(&at.child("dnsConfig").child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    rules::not_negative(spec, &["terminationGracePeriodSeconds"], at, &mut errors);
    for (name, check) in [
        ("serviceAccountName", validate::dns_subdomain as fn(&str, bool) -> Vec<String>),
        ("nodeName", validate::dns_subdomain),
        ("priorityClassName", validate::dns_subdomain),
        ("runtimeClassName", validate::dns_subdomain),
        ("hostname", validate::dns_label),
        ("subdomain", validate::dns_label),
    ] {
        let found = value::text(spec, &[name]);
        if !found.is_empty() {
            rules::messages(check(found, false), found, &at.child(name), &mut errors);
        }
    }
    if let Some(seconds) = value::int(spec, &["activeDeadlineSeconds"]).filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        errors.invalid(&at.child("activeDeadlineSeconds"), seconds, "must be between 1 and 2147483647, inclusive");
    }
    if value::flag(spec, &["shareProcessNamespace"]) && value::flag(spec, &["hostPID"]) {
        errors.invalid(
            &at.child("securityContext").child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    for (key, text) in get(spec, "nodeSelector").as_object().into_iter().flatten() {
        let at = at.child("nodeSelector");
        rules::messages(validate::qualified_name(key), key, &at, &mut errors);
        let text = text.as_str().unwrap_or("");
        rules::messages(validate::label_value(text), text, &at, &mut errors);
    }
    tolerations(value::items(spec, &["tolerations"]), &at.child("tolerations"), &mut errors);
    affinity(get(spec, "affinity"), &at.child("affinity"), &mut errors);
    spread(value::items(spec, &["topologySpreadConstraints"]), &at.child("topologySpreadConstraints"), &mut errors);
    let security = at.child("securityContext");
    let names = ["runAsUser", "runAsGroup", "fsGroup"];
    rules::not_negative(get(spec, "securityContext"), &names, &security, &mut errors);
    for (i, alias) in value::items(spec, &["hostAliases"]).iter().enumerate() {
        let ip = value::text(alias, &["ip"]);
        rules::messages(validate::legacy_ip(ip), ip, &at.child("hostAliases").index(i).child("ip"), &mut errors);
    }
    errors
}

fn tolerations(all: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, toleration) in all.iter().enumerate() {
        let here = at.index(i);
        let key = value::text(toleration, &["key"]);
        let operator = value::text(toleration, &["operator"]);
        if !key.is_empty() {
            rules::messages(validate::qualified_name(key), key, &here.child("key"), errors);
        } else if operator != "Exists" {
            errors.invalid(
                &here.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        let effect = value::text(toleration, &["effect"]);
        match operator {
            "" | "Equal" => {
                let found = value::text(toleration, &["value"]);
                rules::messages(validate::label_value(found), found, &here.child("operator"), errors);
            }
            "Exists" => {
                if !value::text(toleration, &["value"]).is_empty() {
                    errors.invalid(
                        &here.child("operator"),
                        value::text(toleration, &["value"]),
                        "value must be empty when `operator` is 'Exists'",
                    );
                }
            }
            other => errors.not_supported(&here.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            rules::one_of(effect, &EFFECTS, &here.child("effect"), errors);
        }
        if !get(toleration, "tolerationSeconds").is_null() && effect != "NoExecute" {
            errors.invalid(&here.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
    }
}

fn affinity(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = get(found, "nodeAffinity");
    if !node.is_null() {
        let at = at.child("nodeAffinity");
        if !get(node, required).is_null() {
            let terms = value::items(node, &[required, "nodeSelectorTerms"]);
            let here = at.child(required).child("nodeSelectorTerms");
            if terms.is_empty() {
                errors.required(&here, "must have at least one node selector term");
            }
            for (i, term) in terms.iter().enumerate() {
                node_term(term, &here.index(i), errors);
            }
        }
        for (i, weighted) in value::items(node, &[preferred]).iter().enumerate() {
            let here = at.child(preferred).index(i);
            weight(weighted, &here, errors);
            node_term(get(weighted, "preference"), &here.child("preference"), errors);
        }
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let at = at.child(name);
        for (i, term) in value::items(found, &[name, required]).iter().enumerate() {
            pod_term(term, &at.child(required).index(i), errors);
        }
        for (i, weighted) in value::items(found, &[name, preferred]).iter().enumerate() {
            let here = at.child(preferred).index(i);
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

fn node_term(term: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (i, expression) in value::items(term, &["matchExpressions"]).iter().enumerate() {
        let here = at.child("matchExpressions").index(i);
        let operator = value::text(expression, &["operator"]);
        let values = value::items(expression, &["values"]).len();
        match operator {
            "In" | "NotIn" if values == 0 => errors.required(&here.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"),
            "Exists" | "DoesNotExist" if values > 0 => {
                errors.forbidden(&here.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if values != 1 => {
                errors.required(&here.child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'")
            }
            other if !OPERATORS.contains(&other) => errors.invalid(&here.child("operator"), other, "not a valid selector operator"),
            _ => {}
        }
        let key = value::text(expression, &["key"]);
        rules::messages(validate::qualified_name(key), key, &here.child("key"), errors);
    }
}

fn pod_term(term: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for name in ["labelSelector", "namespaceSelector"] {
        if !get(term, name).is_null() {
            errors.extend(validate::label_selector(get(term, name), &at.child(name)));
        }
    }
    let key = value::text(term, &["topologyKey"]);
    if key.is_empty() {
        errors.required(&at.child("topologyKey"), "can not be empty");
    } else {
        rules::messages(validate::qualified_name(key), key, &at.child("topologyKey"), errors);
    }
}

fn spread(all: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    for (i, constraint) in all.iter().enumerate() {
        let here = at.index(i);
        let skew = value::int(constraint, &["maxSkew"]).unwrap_or(0);
        if skew <= 0 {
            errors.invalid(&here.child("maxSkew"), skew, "must be greater than zero");
        }
        if value::text(constraint, &["topologyKey"]).is_empty() {
            errors.required(&here.child("topologyKey"), "can not be empty");
        }
        let action = value::text(constraint, &["whenUnsatisfiable"]);
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            errors.not_supported(&here.child("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        if !get(constraint, "labelSelector").is_null() {
            errors.extend(validate::label_selector(get(constraint, "labelSelector"), &here.child("labelSelector")));
        }
    }
}

/// What works and probably is not meant.
pub fn warnings(spec: &Value, at: &FieldPath) -> Vec<String> {
    let mut texts = Vec::new();
    for (name, list) in [("containers", value::items(spec, &["containers"])), ("initContainers", value::items(spec, &["initContainers"]))] {
        for (i, container) in list.iter().enumerate() {
            let env = value::items(container, &["env"]);
            for (j, entry) in env.iter().enumerate() {
                if env[..j].iter().any(|e| get(e, "name") == get(entry, "name")) {
                    let text = value::text(entry, &["name"]);
                    let here = at.child(name).index(i).child("env").index(j);
                    texts.push(format!("{here}: hides previous definition of \"{text}\", which may be dropped when using apply"));
                }
            }
        }
    }
    if value::text(spec, &["serviceAccount"]) != value::text(spec, &["serviceAccountName"]) {
        texts.push(format!("{}: deprecated, use spec.serviceAccountName instead", at.child("serviceAccount")));
    }
    texts
}

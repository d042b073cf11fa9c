//! What containers, and the pod around them, ask for.

use super::visit;
use crate::core::resource_names::{self, huge_page_amount, is_huge_page, may_overcommit};
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, Quantity, value};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type CheckName = fn(&str, &FieldPath, &mut FieldErrors);

pub type Amounts = BTreeMap<String, Quantity>;

fn entries<'a>(found: &'a Value, kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    get(found, kind).as_object().into_iter().flatten().map(|(name, amount)| (name.as_str(), amount))
}

/// `limits` or `requests` as numbers.
pub fn amounts(found: &Value, kind: &str) -> Amounts {
    entries(found, kind).filter_map(|(name, amount)| Some((name.to_string(), Quantity::from_value(amount).ok()?))).collect()
}

pub fn container(found: &Value, claims: &BTreeSet<&str>, at: &FieldPath, errors: &mut FieldErrors) {
    requirements(found, resource_names::container, claims, at, errors);
}

fn requirements(found: &Value, check_name: CheckName, claims: &BTreeSet<&str>, at: &FieldPath, errors: &mut FieldErrors) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    let (mut basic, mut huge) = (false, false);
    let limited = amounts(found, "limits");
    for (kind, path) in [("limits", &limits), ("requests", &requests)] {
        for (name, amount) in entries(found, kind) {
            let here = path.key(name);
            check_name(name, &here, errors);
            resource_names::amount(name, amount, &here, errors);
            if kind == "requests" {
                let asked = Quantity::from_value(amount).unwrap_or_default();
                match limited.get(name) {
                    Some(limit) if asked != *limit && !may_overcommit(name) => {
                        errors.invalid(path, amount.clone(), &format!("must be equal to {name} limit of {limit}"));
                    }
                    Some(limit) if asked > *limit => {
                        errors.invalid(path, amount.clone(), &format!("must be less than or equal to {name} limit of {limit}"));
                    }
                    None if !may_overcommit(name) => errors.required(&limits, "Limit must be set for non overcommitable resources"),
                    _ => {}
                }
            }
            if let Some(why) = huge_page_amount(name, amount) {
                errors.invalid(&here, amount.clone(), &why);
            }
            huge |= is_huge_page(name);
            basic |= matches!(name, "cpu" | "memory");
        }
    }
    if huge && !basic {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    claimed(value::items(found, &["claims"]), claims, &at.child("claims"), errors);
}

/// The devices that a container uses of those that the pod has claimed.
fn claimed(all: &[Value], known: &BTreeSet<&str>, at: &FieldPath, errors: &mut FieldErrors) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (i, claim) in all.iter().enumerate() {
        let here = at.index(i);
        let (name, request) = (value::text(claim, &["name"]), value::text(claim, &["request"]));
        if name.is_empty() {
            errors.required(&here, "");
        } else if seen.contains(name) {
            errors.duplicate(&here, name);
        } else {
            if !request.is_empty() {
                rules::dns_label(request, &here.child("request"), errors);
            }
            let key = if request.is_empty() { name.to_string() } else { format!("{name}/{request}") };
            if seen.contains(&key) {
                errors.duplicate(&here, key.as_str());
            } else if request.is_empty() {
                for _ in seen.iter().filter(|s| s.split_once('/').is_some_and(|(n, _)| n == name)) {
                    errors.duplicate(&here, name);
                }
            }
            seen.insert(key);
        }
        if !known.contains(name) {
            let names: Vec<&str> = known.iter().copied().collect();
            let tail = if names.is_empty() { " which is empty".to_string() } else { format!(": {}", names.join(", ")) };
            errors.not_found_in(&here, name, &format!("must be one of the names in pod.spec.resourceClaims{tail}"));
        }
    }
}

/// What all containers together ask for: the greatest of any moment, with sidecars running from where they start.
pub fn aggregate(spec: &Value, kind: &str) -> Amounts {
    let add = |into: &mut Amounts, more: &Amounts| more.iter().for_each(|(name, amount)| into.entry(name.clone()).or_default().add(amount));
    let highest = |into: &mut Amounts, other: Amounts| {
        for (name, amount) in other {
            let slot = into.entry(name).or_insert(amount);
            *slot = (*slot).max(amount);
        }
    };
    let of = |container: &Value| amounts(get(container, "resources"), kind);
    let mut total = Amounts::new();
    value::items(spec, &["containers"]).iter().for_each(|c| add(&mut total, &of(c)));
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for init in value::items(spec, &["initContainers"]) {
        let own = of(init);
        let mut now = sidecars.clone();
        add(&mut now, &own);
        if value::text(init, &["restartPolicy"]) == "Always" {
            add(&mut total, &own);
            sidecars = now.clone();
        }
        highest(&mut starting, now);
    }
    highest(&mut total, starting);
    total
}

/// The pod's own requests and limits, which are about all its containers together.
pub fn pod(spec: &Value, claims: &BTreeSet<&str>, at: &FieldPath, errors: &mut FieldErrors) {
    let found = get(spec, "resources");
    let here = at.child("resources");
    if found.is_null() {
        return;
    }
    if value::text(spec, &["os", "name"]) == "windows" {
        errors.forbidden(&here, "may not be set for a windows pod");
        return;
    }
    if has(found, "claims") {
        errors.forbidden(&here.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(found, resource_names::pod, claims, &here, errors);
    let (requests, limits) = (amounts(found, "requests"), amounts(found, "limits"));
    for (name, all) in aggregate(spec, "requests") {
        if let Some(own) = requests.get(&name).filter(|own| all > **own) {
            let why = format!("must be greater than or equal to aggregate container requests of {all}");
            errors.invalid(&here.child("requests").key(&name), own.to_string(), &why);
        }
    }
    for (name, all) in aggregate(spec, "limits").into_iter().filter(|(name, _)| is_huge_page(name)) {
        if let Some(own) = limits.get(&name).filter(|own| all > **own) {
            let why = format!("must be greater than or equal to aggregate container limits of {all}");
            errors.invalid(&here.child("limits").key(&name), own.to_string(), &why);
        }
    }
    for (i, container) in value::items(spec, &["containers"]).iter().enumerate() {
        for (name, limit) in amounts(get(container, "resources"), "limits") {
            if let Some(own) = limits.get(&name).filter(|own| limit > **own) {
                let path = here.child("containers").index(i).key(&name).child("limits");
                errors.invalid(&path, limit.to_string(), &format!("must be less than or equal to pod limits of {own}"));
            }
        }
    }
}

/// In place changes of cpu and memory: what happens to the container.
pub fn resize_policy(container: &Value, pod_restarts: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let policies = value::items(container, &["resizePolicy"]);
    for (i, policy) in policies.iter().enumerate() {
        let (name, restart) = (value::text(policy, &["resourceName"]), value::text(policy, &["restartPolicy"]));
        if policies[..i].iter().any(|p| value::text(p, &["resourceName"]) == name) {
            errors.duplicate(&at.index(i), name);
        }
        rules::one_of(name, &["cpu", "memory"], at, errors);
        rules::one_of(restart, &["NotRequired", "RestartContainer"], at, errors);
        if pod_restarts == "Never" && restart != "NotRequired" {
            errors.invalid(at, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

/// Environment variables from files are read from an `emptyDir` of the pod.
pub fn file_volumes(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    visit(spec, at, |container, path| {
        for (i, env) in value::items(container, &["env"]).iter().enumerate() {
            let Some(reference) = value::at(env, &["valueFrom", "fileKeyRef"]).filter(|r| !r.is_null()) else { continue };
            let name = value::text(reference, &["volumeName"]);
            let here = path.child("env").index(i).child("valueFrom").child("fileKeyRef").child("volumeName");
            match value::items(spec, &["volumes"]).iter().find(|v| value::text(v, &["name"]) == name) {
                None => errors.not_found(&here, name),
                Some(volume) if !has(volume, "emptyDir") => {
                    errors.invalid(&here, name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}

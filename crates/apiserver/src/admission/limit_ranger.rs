//! LimitRanger: what containers ask for where they say nothing, and the bounds of what they may ask for.

use super::{Acts, Plugin, Request};
use async_trait::async_trait;
use meta::quantity::Quantity;
use meta::{ApiError, value};
use serde_json::Value;
use std::collections::BTreeMap;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LISTS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

pub struct LimitRanger;

type List = BTreeMap<String, Quantity>;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn acts(&self) -> Acts {
        Acts::MutatesAndValidates
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if request.creates("", "pods") {
            for range in request.values("", "limitranges", Some(&request.attributes.namespace)) {
                default_pod(&range, object);
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let pod = request.creates("", "pods");
        let claim = request.creates("", "persistentvolumeclaims") || request.updates("", "persistentvolumeclaims");
        // What a pod asks for does not change after its creation.
        if !pod && !claim || old.is_some_and(|o| value::at(o, &["metadata", "deletionTimestamp"]).is_some()) {
            return Ok(());
        }
        for range in request.values("", "limitranges", Some(&request.attributes.namespace)) {
            let mut errors = if pod { check_pod(&range, object) } else { check_claim(&range, object) };
            match errors.len() {
                0 => {}
                1 => return Err(request.forbidden(errors.remove(0))),
                _ => return Err(request.forbidden(format!("[{}]", errors.join(", ")))),
            }
        }
        Ok(())
    }
}

pub(super) fn list(of: &Value, path: &[&str]) -> List {
    let map = value::at(of, path).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(name, q)| Some((name.clone(), Quantity::from_value(q).ok()?))).collect()
}

fn default_pod(range: &Value, pod: &mut Value) {
    let mut notes = Vec::new();
    for item in value::items(range, &["spec", "limits"]).iter().filter(|i| value::text(i, &["type"]) == "Container") {
        for (field, called) in LISTS {
            for container in value::items_mut(pod, &["spec", field]) {
                let name = value::text(container, &["name"]).to_string();
                for (from, to) in [("defaultRequest", "requests"), ("default", "limits")] {
                    let Some(defaults) = value::at(item, &[from]).and_then(Value::as_object) else { continue };
                    let missing: Vec<_> = defaults.iter().filter(|(k, _)| value::at(container, &["resources", to, k]).is_none()).collect();
                    if missing.is_empty() {
                        continue;
                    }
                    let names: Vec<&str> = missing.iter().map(|(k, _)| k.as_str()).collect();
                    let what = if to == "requests" { "request" } else { "limit" };
                    notes.push(format!("{} {what} for {called} {name}", names.join(", ")));
                    for (key, quantity) in missing {
                        value::set(container, &["resources", to, key], quantity.clone());
                    }
                }
            }
        }
    }
    if !notes.is_empty() {
        value::set(pod, &["metadata", "annotations", ANNOTATION], format!("LimitRanger plugin set: {}", notes.join("; ")));
    }
}

fn show(q: Option<&Quantity>) -> String {
    q.map(Quantity::to_string).unwrap_or_default()
}

/// All bounds of one item against what is asked for, in upstream's order.
fn check(item: &Value, kind: &str, requests: &List, limits: &List, ratios: bool, errors: &mut Vec<String>) {
    for (name, min) in list(item, &["min"]) {
        let (request, limit) = (requests.get(&name), limits.get(&name));
        match request {
            None => errors.push(format!("minimum {name} usage per {kind} is {min}.  No request is specified")),
            Some(r) if *r < min => errors.push(format!("minimum {name} usage per {kind} is {min}, but request is {r}")),
            Some(_) if limit.is_some_and(|l| *l < min) => {
                errors.push(format!("minimum {name} usage per {kind} is {min}, but limit is {}", show(limit)));
            }
            Some(_) => {}
        }
    }
    for (name, max) in list(item, &["max"]) {
        let (request, limit) = (requests.get(&name), limits.get(&name));
        // Of storage there is no limit but what is requested.
        if kind == "PersistentVolumeClaim" {
            match request {
                None => errors.push(format!("maximum {name} usage per {kind} is {max}.  No request is specified")),
                Some(r) if *r > max => errors.push(format!("maximum {name} usage per {kind} is {max}, but request is {r}")),
                Some(_) => {}
            }
            continue;
        }
        match limit {
            None => errors.push(format!("maximum {name} usage per {kind} is {max}.  No limit is specified")),
            Some(l) if *l > max => errors.push(format!("maximum {name} usage per {kind} is {max}, but limit is {l}")),
            Some(_) if request.is_some_and(|r| *r > max) => {
                errors.push(format!("maximum {name} usage per {kind} is {max}, but request is {}", show(request)));
            }
            Some(_) => {}
        }
    }
    if ratios {
        for (name, most) in list(item, &["maxLimitRequestRatio"]) {
            check_ratio(&name, &most, kind, requests.get(&name), limits.get(&name), errors);
        }
    }
}

fn check_ratio(name: &str, most: &Quantity, kind: &str, request: Option<&Quantity>, limit: Option<&Quantity>, errors: &mut Vec<String>) {
    let zero = Quantity::ZERO;
    let text = format!("{name} max limit to request ratio per {kind} is {most}");
    match (request.unwrap_or(&zero), limit.unwrap_or(&zero)) {
        (r, _) if r.is_zero() => errors.push(format!("{text}, but no request is specified or request is 0")),
        (_, l) if l.is_zero() => errors.push(format!("{text}, but no limit is specified or limit is 0")),
        (r, l) if l.to_f64() / r.to_f64() > most.to_f64() => {
            errors.push(format!("{text}, but provided ratio is {:.6}", l.to_f64() / r.to_f64()))
        }
        _ => {}
    }
}

fn check_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for item in value::items(range, &["spec", "limits"]) {
        match value::text(item, &["type"]) {
            "Container" => {
                for (field, _) in LISTS {
                    for c in value::items(pod, &["spec", field]) {
                        let (requests, limits) = (list(c, &["resources", "requests"]), list(c, &["resources", "limits"]));
                        check(item, "Container", &requests, &limits, true, &mut errors);
                    }
                }
            }
            "Pod" => check(item, "Pod", &pod_sum(pod, "requests"), &pod_sum(pod, "limits"), true, &mut errors),
            _ => {}
        }
    }
    errors
}

fn check_claim(range: &Value, claim: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for item in value::items(range, &["spec", "limits"]).iter().filter(|i| value::text(i, &["type"]) == "PersistentVolumeClaim") {
        let requests = list(claim, &["spec", "resources", "requests"]);
        check(item, "PersistentVolumeClaim", &requests, &List::new(), false, &mut errors);
    }
    errors
}

/// What a pod needs of each resource at its fullest: containers and sidecars together, or an init container with the
/// sidecars started before it. What the pod itself states holds instead.
pub(super) fn pod_sum(pod: &Value, field: &str) -> List {
    let add = |to: &mut List, more: &List| more.iter().for_each(|(k, q)| to.entry(k.clone()).or_default().add(q));
    let raise = |to: &mut List, more: &List| {
        for (k, q) in more {
            let have = to.entry(k.clone()).or_insert(*q);
            *have = (*have).max(*q);
        }
    };
    let (mut sum, mut sidecars, mut peak) = (List::new(), List::new(), List::new());
    for c in value::items(pod, &["spec", "containers"]) {
        add(&mut sum, &list(c, &["resources", field]));
    }
    for c in value::items(pod, &["spec", "initContainers"]) {
        let own = list(c, &["resources", field]);
        if value::text(c, &["restartPolicy"]) == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut now = sidecars.clone();
            add(&mut now, &own);
            raise(&mut peak, &now);
        }
    }
    raise(&mut sum, &peak);
    sum.extend(list(pod, &["spec", "resources", field]));
    let overhead = list(pod, &["spec", "overhead"]);
    for (name, q) in overhead {
        // A limit that is not there stays endless.
        if field == "requests" || sum.contains_key(&name) {
            sum.entry(name).or_default().add(&q);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_merged_and_noted() {
        let range = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]}});
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}});
        default_pod(&range, &mut pod);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container c; memory limit for container c"
        );
    }

    #[test]
    fn bounds_are_told_as_upstream_tells_them() {
        let range = json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}}]}});
        let pod = |r: &str, l: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": r}, "limits": {"cpu": l}}}]}});
        assert_eq!(check_pod(&range, &pod("50m", "100m")), ["minimum cpu usage per Container is 100m, but request is 50m"]);
        assert_eq!(check_pod(&range, &pod("1", "2")), ["maximum cpu usage per Container is 1, but limit is 2"]);
        assert_eq!(check_pod(&range, &pod("200m", "500m")).len(), 1);
        assert!(check_pod(&range, &pod("200m", "400m")).is_empty());
    }

    #[test]
    fn a_pods_sum_is_its_peak() {
        let c = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let pod = json!({"spec": {"containers": [c("1"), c("1")], "initContainers": [c("3")], "overhead": {"cpu": "500m"}}});
        assert_eq!(pod_sum(&pod, "requests")["cpu"].to_string(), "3500m");
    }
}

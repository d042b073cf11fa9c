use super::*;
use serde_json::json;

fn of(resource: &str) -> GroupResource {
    GroupResource::new("", resource)
}

#[test]
fn what_exceeds_a_quota_is_told() {
    let quota = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}}});
    let delta = delta(&of("pods"), &json!({"spec": {}}), None);
    assert_eq!(charge(&quota, &delta).unwrap_err(), "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
    let unknown = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}}});
    assert_eq!(charge(&unknown, &delta).unwrap_err(), "status unknown for quota: q, resources: pods");
    let back = delta.iter().map(|(r, q)| (r.clone(), q.negated())).collect();
    assert_eq!(charge(&quota, &back).unwrap()["pods"], Quantity::new(1));
}

#[test]
fn an_update_is_charged_the_difference() {
    let claim = |size: &str| json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}});
    let grown = delta(&of("persistentvolumeclaims"), &claim("3Gi"), Some(&claim("1Gi")));
    let names: Vec<_> = grown.iter().map(|(r, q)| format!("{r}={q}")).collect();
    assert_eq!(names, ["fast.storageclass.storage.k8s.io/requests.storage=2Gi", "requests.storage=2Gi"]);
    let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{}, {}]}});
    let exposed = delta(&of("services"), &service("LoadBalancer"), Some(&service("ClusterIP")));
    assert_eq!(exposed.keys().collect::<Vec<_>>(), ["services.loadbalancers", "services.nodeports"]);
}

#[test]
fn limited_resources_must_be_stated() {
    let hard = Amounts::from([("limits.cpu".to_string(), Quantity::new(1)), ("pods".to_string(), Quantity::new(1))]);
    let pod = json!({"spec": {"containers": [{"name": "c"}, {"name": "d", "resources": {"limits": {"cpu": "1"}}}]}});
    assert_eq!(usage::unstated(&pod, &hard).unwrap(), "must specify limits.cpu for: c");
}

#[test]
fn scopes_tell_pods_apart() {
    let quota = |scope: &str| json!({"spec": {"scopes": [scope]}});
    let pod = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}], "activeDeadlineSeconds": 5, "priorityClassName": "high"}});
    for (scope, expected) in [("Terminating", true), ("NotTerminating", false), ("BestEffort", false), ("NotBestEffort", true)] {
        assert_eq!(scopes::covers(&quota(scope), &of("pods"), &pod), expected, "{scope}");
    }
    let selects =
        json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}});
    assert!(scopes::covers(&selects, &of("pods"), &pod));
    assert!(!scopes::covers(&selects, &of("pods"), &json!({"spec": {}})));
    assert!(!scopes::covers(&selects, &of("services"), &pod));
}

//! Which objects a quota is about.

use meta::{GroupResource, value};
use serde_json::Value;

/// Only pods are told apart by scopes; a quota with scopes is about nothing else.
pub fn covers(quota: &Value, of: &GroupResource, object: &Value) -> bool {
    let scopes = value::items(quota, &["spec", "scopes"]);
    let selectors = value::items(quota, &["spec", "scopeSelector", "matchExpressions"]);
    if scopes.is_empty() && selectors.is_empty() {
        return true;
    }
    let pods = of.group.is_empty() && of.resource == "pods";
    pods && scopes.iter().all(|s| s.as_str().is_some_and(|s| holds(s, "Exists", &[], object)))
        && selectors.iter().all(|s| {
            let (scope, operator) = (value::text(s, &["scopeName"]), value::text(s, &["operator"]));
            holds(scope, operator, value::items(s, &["values"]), object)
        })
}

fn holds(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    match scope {
        "Terminating" => terminating(pod),
        "NotTerminating" => !terminating(pod),
        "BestEffort" => best_effort(pod),
        "NotBestEffort" => !best_effort(pod),
        "PriorityClass" => {
            let class = value::text(pod, &["spec", "priorityClassName"]);
            let listed = values.iter().any(|v| v == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => crosses(pod),
        _ => false,
    }
}

fn terminating(pod: &Value) -> bool {
    value::int(pod, &["spec", "activeDeadlineSeconds"]).is_some_and(|s| s >= 0)
}

fn best_effort(pod: &Value) -> bool {
    let states =
        |of: &Value| ["requests", "limits"].iter().any(|f| ["cpu", "memory"].iter().any(|r| value::at(of, &["resources", f, r]).is_some()));
    let containers = ["containers", "initContainers"].iter().flat_map(|f| value::items(pod, &["spec", f]));
    !containers.chain(pod.get("spec")).any(states)
}

fn crosses(pod: &Value) -> bool {
    let elsewhere = |term: &Value| !value::items(term, &["namespaces"]).is_empty() || value::at(term, &["namespaceSelector"]).is_some();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let list = |field: &str| value::items(pod, &["spec", "affinity", kind, field]);
        list("requiredDuringSchedulingIgnoredDuringExecution").iter().any(elsewhere)
            || list("preferredDuringSchedulingIgnoredDuringExecution").iter().any(|t| t.get("podAffinityTerm").is_some_and(elsewhere))
    })
}

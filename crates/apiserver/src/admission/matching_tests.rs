use super::*;
use serde_json::json;

fn rule(operations: &[&str], groups: &[&str], versions: &[&str], resources: &[&str], scope: &str) -> Rule {
    Rule::parse(&json!({"operations": operations, "apiGroups": groups, "apiVersions": versions, "resources": resources, "scope": scope}))
}

fn target<'a>(operation: &'a str, group: &'a str, resource: &'a str, subresource: &'a str, namespace: &'a str) -> Target<'a> {
    Target { operation, group, version: "v1", resource, subresource, namespace, name: "x" }
}

#[test]
fn a_rule_matches_by_operation_group_version_and_resource() {
    let deployments = target("CREATE", "apps", "deployments", "", "n");
    for (rule, matches) in [
        (rule(&["CREATE"], &["apps"], &["v1"], &["deployments"], "*"), true),
        (rule(&["*"], &["*"], &["*"], &["*"], "*"), true),
        (rule(&["UPDATE"], &["apps"], &["v1"], &["deployments"], "*"), false),
        (rule(&["CREATE"], &[""], &["v1"], &["deployments"], "*"), false),
        (rule(&["CREATE"], &["apps"], &["v1beta1"], &["deployments"], "*"), false),
        (rule(&["CREATE"], &["apps"], &["v1"], &["pods", "deployments"], "*"), true),
        (rule(&["CREATE"], &["apps"], &["v1"], &["deployments/*"], "*"), true),
        (rule(&["CREATE"], &["apps"], &["v1"], &["deployments/scale"], "*"), false),
        (rule(&[], &[], &[], &[], "*"), false),
    ] {
        assert_eq!(rule.matches(&deployments), matches, "{rule:?}");
    }
}

#[test]
fn subresources_have_to_be_named_or_covered_by_a_star() {
    let exec = target("CONNECT", "", "pods", "exec", "n");
    for (resource, matches) in [
        ("pods", false),
        ("*", false),
        ("pods/exec", true),
        ("pods/*", true),
        ("*/exec", true),
        ("*/*", true),
        ("nodes/*", false),
        ("pods/attach", false),
    ] {
        assert_eq!(rule(&["*"], &["*"], &["*"], &[resource], "*").matches(&exec), matches, "{resource}");
    }
}

#[test]
fn a_scope_tells_cluster_wide_objects_from_others_and_a_namespace_is_cluster_wide() {
    let scoped = |scope: &str, target: Target<'_>| rule(&["*"], &["*"], &["*"], &["*"], scope).matches(&target);
    for (scope, pod, node, namespace) in [("*", true, true, true), ("Namespaced", true, false, false), ("Cluster", false, true, true)] {
        assert_eq!(scoped(scope, target("CREATE", "", "pods", "", "n")), pod, "{scope}");
        assert_eq!(scoped(scope, target("CREATE", "", "nodes", "", "")), node, "{scope}");
        assert_eq!(scoped(scope, target("CREATE", "", "namespaces", "", "x")), namespace, "{scope}");
    }
}

#[test]
fn a_rule_may_be_about_named_objects() {
    let mut rule = rule(&["*"], &["*"], &["*"], &["*"], "*");
    rule.names = vec!["x".into()];
    assert!(rule.matches(&target("CREATE", "", "pods", "", "n")));
    rule.names = vec!["y".into()];
    assert!(!rule.matches(&target("CREATE", "", "pods", "", "n")));
}

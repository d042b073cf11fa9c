use super::*;

fn configuration(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patches(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

fn policy(mutations: Value, more: Value) -> Value {
    with(json!({"matchConstraints": on(&["CREATE"], "apps", "deployments"), "mutations": mutations}), more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_gets_what_a_configuration_applies() {
    let (s, _dir) = server().await;
    let expression = r#"Object{
        metadata: Object.metadata{annotations: {"mutated-by": variables.who}},
        spec: Object.spec{
            replicas: object.spec.replicas + 1,
            template: Object.spec.template{spec: Object.spec.template.spec{
                containers: [Object.spec.template.spec.containers{name: "sidecar", image: "side/car"}]}}}}"#;
    let variables = json!({"variables": [{"name": "who", "expression": "'policy of ' + request.userInfo.username"}]});
    s.mutating_policy("side", policy(json!([configuration(expression)]), variables)).await.expect(201);
    s.bind_mutating("side", json!({})).await;
    let made = s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(201);
    assert_eq!(made["metadata"]["annotations"]["mutated-by"], "policy of test");
    assert_eq!(made["spec"]["replicas"], 2);
    let containers = made["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<&str> = containers.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"c") && names.contains(&"sidecar"), "{names:?}");
    assert!(containers.iter().all(|c| c["terminationMessagePolicy"] == "File"), "what is added is defaulted");
}

/// Behaviour: [sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment
/// Behaviour: [sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment with annotations
#[tokio::test(flavor = "multi_thread")]
async fn deployments_of_the_namespaces_that_policy_and_binding_select_are_changed() {
    let (s, _dir) = server().await;
    let watched = s.watched_namespace().await;
    let selector = json!({"namespaceSelector": {"matchLabels": {"watched": "yes"}}});
    let annotate = r#"Object{metadata: Object.metadata{annotations: {"mutated-by": "admission-policy"}}}"#;
    for (name, expression) in [("grow", "Object{spec: Object.spec{replicas: 1337}}"), ("annotate", annotate)] {
        let mut spec = policy(json!([configuration(expression)]), json!({}));
        spec["matchConstraints"] = with(spec["matchConstraints"].clone(), selector.clone());
        s.mutating_policy(name, spec).await.expect(201);
    }
    s.bind_mutating("grow", json!({"matchResources": selector})).await;
    let made = s.post(&format!("{watched}/deployments"), deployment("grown", 1)).await.expect(201);
    assert_eq!((&made["spec"]["replicas"], &made["metadata"]["annotations"]), (&json!(1337), &Value::Null), "one is bound");
    s.bind_mutating("annotate", json!({"matchResources": selector})).await;
    let made = s.post(&format!("{watched}/deployments"), deployment("both", 1)).await.expect(201);
    assert_eq!(made["metadata"]["annotations"], json!({"mutated-by": "admission-policy"}));
    assert_eq!(s.get(&format!("{watched}/deployments/both")).await.expect(200)["spec"]["replicas"], 1337);
    let set = s.post(&format!("{watched}/replicasets"), replica_set("a", 1)).await.expect(201);
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["annotations"]), (&json!(1), &Value::Null));
    assert_eq!(s.post(DEPLOYMENTS, deployment("elsewhere", 1)).await.expect(201)["spec"]["replicas"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_are_made_by_expressions_too() {
    let (s, _dir) = server().await;
    let annotate = r#"has(object.metadata.annotations) ? [] : [JSONPatch{op: "add", path: "/metadata/annotations", value: {}}]"#;
    let fill = r#"[JSONPatch{op: "test", path: "/spec/replicas", value: 1},
        JSONPatch{op: "add", path: "/metadata/annotations/patched", value: "yes"},
        JSONPatch{op: "replace", path: "/spec/template", value: Object.spec.template{metadata: Object.spec.template.metadata{labels: {"a": "d", "b": "c"}}, spec: Object.spec.template.spec{
            containers: [Object.spec.template.spec.containers{name: "other", image: "y"}]}}}]"#;
    s.mutating_policy("patch", policy(json!([patches(annotate), patches(fill)]), json!({}))).await.expect(201);
    s.bind_mutating("patch", json!({})).await;
    let made = s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(201);
    assert_eq!(made["metadata"]["annotations"], json!({"patched": "yes"}));
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["name"], "other");
    // A test that fails leaves the object as it is.
    let made = s.post(DEPLOYMENTS, deployment("b", 2)).await.expect(201);
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["name"], "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_that_fail_deny_in_upstreams_words() {
    let (s, _dir) = server().await;
    for (name, mutation, why) in [
        (
            "atomic",
            configuration(
                r#"Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: "c", command: ["x"]}]}}}}"#,
            ),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.template.spec.containers[0].command",
        ),
        (
            "misplaced",
            configuration("Object{spec: Object.metadata{}}"),
            "type mismatch: unexpected type name \"Object.metadata\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
        ("missing", configuration("Object{spec: Object.spec{replicas: object.spec.nothing}}"), "resulted in error: no such key: nothing"),
    ] {
        s.mutating_policy(name, policy(json!([mutation]), json!({}))).await.expect(201);
        s.bind_mutating(name, json!({})).await;
        let refused = s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(403);
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("policy '{name}' with binding '{name}' denied request: ")) && message.ends_with(why),
            "{message}"
        );
        assert_eq!(refused["reason"], "Invalid");
        s.delete(&format!("{GROUP}/mutatingadmissionpolicies/{name}"), Value::Null).await.expect(200);
    }
    let refused = s.mutating_policy("wrong", policy(json!([configuration("1")]), json!({}))).await.expect(422);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("spec.mutations[0].applyConfiguration.expression: Invalid value: \"1\": must evaluate to Object but got int"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_asks_for_it_sees_what_others_changed_after_it() {
    let (s, _dir) = server().await;
    let count = |more: Value| {
        policy(json!([configuration("Object{metadata: Object.metadata{annotations: {'replicas': string(object.spec.replicas)}}}")]), more)
    };
    let grow = policy(json!([configuration("Object{spec: Object.spec{replicas: 7}}")]), json!({}));
    s.mutating_policy("a-count", count(json!({"reinvocationPolicy": "IfNeeded"}))).await.expect(201);
    s.mutating_policy("b-grow", grow).await.expect(201);
    s.bind_mutating("a-count", json!({})).await;
    s.bind_mutating("b-grow", json!({})).await;
    let made = s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(201);
    assert_eq!((&made["metadata"]["annotations"]["replicas"], &made["spec"]["replicas"]), (&json!("7"), &json!(7)));
}

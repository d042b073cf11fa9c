use super::*;

fn replicas(expression: &str, more: Value) -> Value {
    let mut validation = json!({"expression": expression});
    for (key, value) in more.as_object().into_iter().flatten() {
        validation[key] = value.clone();
    }
    json!({"matchConstraints": on(&["CREATE", "UPDATE"], "apps", "deployments"), "validations": [validation]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_held_against_the_expressions_where_a_binding_says_so() {
    let (s, _dir) = server().await;
    let words =
        json!({"messageExpression": "'more than one: ' + string(object.spec.replicas)", "message": "unseen", "reason": "Forbidden"});
    s.validating_policy("few", replicas("object.spec.replicas <= 1", words)).await.expect(201);
    s.post(DEPLOYMENTS, deployment("unbound", 2)).await.expect(201);
    s.bind_validating("few", json!({})).await;
    s.post(DEPLOYMENTS, deployment("one", 1)).await.expect(201);
    let refused = s.post(DEPLOYMENTS, deployment("two", 2)).await.expect(403);
    assert_eq!(
        refused["message"],
        "deployments.apps \"two\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: more than one: 2"
    );
    assert_eq!(refused["reason"], "Forbidden");
    s.patch(&format!("{DEPLOYMENTS}/one"), MERGE, json!({"spec": {"replicas": 5}})).await.expect(403);
    assert_eq!(s.get(&format!("{DEPLOYMENTS}/one")).await.expect(200)["spec"]["replicas"], 1);
}

/// Behaviour: [sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should allow expressions to refer variables.
#[tokio::test(flavor = "multi_thread")]
async fn variables_build_on_one_another_in_the_namespaces_that_are_selected() {
    let (s, _dir) = server().await;
    let watched = s.watched_namespace().await;
    let mut spec = replicas("variables.replicas > 1", json!({}));
    spec["matchConstraints"]["namespaceSelector"] = json!({"matchLabels": {"watched": "yes"}});
    spec["validations"].as_array_mut().unwrap().push(json!({"expression": "variables.oddReplicas"}));
    spec["variables"] = json!([
        {"name": "replicas", "expression": "object.spec.replicas"},
        {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
    ]);
    s.validating_policy("odd", spec).await.expect(201);
    s.bind_validating("odd", json!({})).await;
    for (replicas, failed) in [(1, "variables.replicas > 1"), (2, "variables.oddReplicas")] {
        let refused = s.post(&format!("{watched}/deployments"), deployment("a", replicas)).await.expect(422);
        assert_eq!(refused["reason"], "Invalid");
        assert!(refused["message"].as_str().unwrap().ends_with(&format!("failed expression: {failed}")), "{refused}");
    }
    s.post(&format!("{watched}/deployments"), deployment("a", 3)).await.expect(201);
    s.post(&format!("{watched}/replicasets"), replica_set("a", 1)).await.expect(201);
    s.post(DEPLOYMENTS, deployment("elsewhere", 2)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_refer_to_variables_which_are_computed_when_they_are_needed() {
    let (s, _dir) = server().await;
    let mut spec = replicas("variables.few && variables.image.startsWith('good/')", json!({"message": "bad image"}));
    spec["variables"] = json!([
        {"name": "first", "expression": "object.spec.template.spec.containers[0]"},
        {"name": "image", "expression": "variables.first.image"},
        {"name": "few", "expression": "object.spec.replicas < 3"},
        {"name": "never", "expression": "object.nothing.at.all"},
    ]);
    s.validating_policy("images", spec).await.expect(201);
    s.bind_validating("images", json!({})).await;
    let refused = s.post(DEPLOYMENTS, deployment("bad", 1)).await.expect(422);
    assert!(refused["message"].as_str().unwrap().ends_with("denied request: bad image"), "{refused}");
    let mut good = deployment("good", 1);
    good["spec"]["template"]["spec"]["containers"][0]["image"] = "good/x".into();
    s.post(DEPLOYMENTS, good).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_come_from_objects_by_name_or_selector() {
    let (s, _dir) = server().await;
    let mut spec = replicas("params == null || object.spec.replicas <= int(params.data.most)", json!({}));
    spec["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    s.validating_policy("most", spec).await.expect(201);
    let named = json!({"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"});
    s.bind_validating("most", json!({"paramRef": named})).await;
    let refused = s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(422);
    let missing = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(refused["message"].as_str().unwrap().ends_with(missing), "{refused}");
    s.post(MAPS, json!({"metadata": {"name": "limits", "labels": {"limits": "yes"}}, "data": {"most": "3"}})).await.expect(201);
    s.post(DEPLOYMENTS, deployment("a", 3)).await.expect(201);
    s.post(DEPLOYMENTS, deployment("b", 4)).await.expect(422);
    s.put(&format!("{MAPS}/limits"), json!({"metadata": {"name": "limits", "labels": {"limits": "yes"}}, "data": {"most": "4"}}))
        .await
        .expect(200);
    s.post(DEPLOYMENTS, deployment("b", 4)).await.expect(201);
    let selected = json!({"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"});
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    s.patch(&format!("{bindings}/most"), MERGE, json!({"spec": {"paramRef": null}})).await.expect(200);
    s.post(DEPLOYMENTS, deployment("c", 9)).await.expect(201);
    s.patch(&format!("{bindings}/most"), MERGE, json!({"spec": {"paramRef": selected}})).await.expect(200);
    s.post(MAPS, json!({"metadata": {"name": "strict", "labels": {"limits": "yes"}}, "data": {"most": "2"}})).await.expect(201);
    s.post(DEPLOYMENTS, deployment("d", 3)).await.expect(422);
    s.delete(&format!("{MAPS}?labelSelector=limits"), Value::Null).await.expect(200);
    s.post(DEPLOYMENTS, deployment("d", 3)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_may_warn_and_narrow_what_its_policy_is_about() {
    let (s, _dir) = server().await;
    let watched = s.watched_namespace().await;
    s.validating_policy("few", replicas("object.spec.replicas <= 1", json!({}))).await.expect(201);
    let only = json!({"namespaceSelector": {"matchLabels": {"watched": "yes"}}});
    s.bind_validating("few", json!({"matchResources": only, "validationActions": ["Warn", "Audit"]})).await;
    let answer = s.post(DEPLOYMENTS, deployment("a", 2)).await;
    assert_eq!((answer.code, answer.warnings.len()), (201, 0));
    let answer = s.post(&format!("{watched}/deployments"), deployment("a", 2)).await;
    let warned =
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'few' with binding 'few': failed expression: object.spec.replicas <= 1\"";
    assert_eq!((answer.code, answer.warnings), (201, vec![warned.to_string()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_see_the_request_its_namespace_and_what_its_sender_may() {
    let (s, _dir) = server().await;
    let checks = [
        "request.operation == 'CREATE' && request.resource.resource == 'deployments' && request.userInfo.username == 'test'",
        "oldObject == null && request.name == object.metadata.name && !request.dryRun",
        "namespaceObject.metadata.name == request.namespace",
        "authorizer.group('apps').resource('deployments').namespace('default').check('create').allowed()",
        "authorizer.requestResource.check('delete').allowed()",
        "has(object.spec.replicas) && object.metadata.?labels.orValue({}).size() == 0",
    ];
    let validations: Vec<Value> = checks.iter().map(|c| json!({"expression": c})).collect();
    let spec = json!({"matchConstraints": on(&["CREATE"], "apps", "deployments"), "validations": validations});
    s.validating_policy("sees", spec).await.expect(201);
    s.bind_validating("sees", json!({})).await;
    s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_deny_or_are_passed_over_as_the_failure_policy_says() {
    let (s, _dir) = server().await;
    for (policy, code) in [("Fail", 422), ("Ignore", 201)] {
        let name = policy.to_lowercase();
        let mut spec = replicas("object.nothing.at.all", json!({}));
        spec["failurePolicy"] = policy.into();
        spec["validations"] = json!([{"expression": "object.nothing.at.all == 1"}]);
        s.validating_policy(&name, spec).await.expect(201);
        s.bind_validating(&name, json!({})).await;
        let answer = s.post(DEPLOYMENTS, deployment(&name, 1)).await;
        assert_eq!(answer.code, code, "{}", answer.body);
        if code == 422 {
            let why = "expression 'object.nothing.at.all == 1' resulted in error: no such key: nothing";
            assert!(answer.body["message"].as_str().unwrap().ends_with(why), "{}", answer.body);
        }
        s.delete(&format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"), Value::Null).await.expect(200);
    }
    let counted = s.metrics().await;
    for (action, name) in [("deny", "fail"), ("allow", "ignore")] {
        let labels = format!("enforcement_action=\"{action}\",error_type=\"invalid_error\",policy=\"{name}\"");
        assert!(counted.contains(&format!("apiserver_validating_admission_policy_check_total{{{labels}")), "{labels}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn match_conditions_leave_requests_out() {
    let (s, _dir) = server().await;
    let mut spec = replicas("false", json!({"message": "never"}));
    spec["matchConditions"] = json!([{"name": "not-spared", "expression": "!object.metadata.name.startsWith('spared')"}]);
    s.validating_policy("never", spec).await.expect(201);
    s.bind_validating("never", json!({})).await;
    s.post(DEPLOYMENTS, deployment("a", 1)).await.expect(422);
    s.post(DEPLOYMENTS, deployment("spared-a", 1)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_compile_is_refused_when_it_is_written() {
    let (s, _dir) = server().await;
    for (expression, why) in [
        ("object.spec.replicas >", "compilation failed: ERROR: <input>:1:"),
        ("object.spec.replicas + 1", "must evaluate to bool but got"),
        ("params.x == 1", "undeclared reference to 'params'"),
    ] {
        let refused = s.validating_policy("wrong", replicas(expression, json!({}))).await.expect(422);
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("spec.validations[0].expression: Invalid value: ") && message.contains(why), "{message}");
    }
    let mut spec = replicas("true", json!({"messageExpression": "1"}));
    spec["variables"] = json!([{"name": "v", "expression": "nonsense"}]);
    let refused = s.validating_policy("wrong", spec).await.expect(422);
    let fields: Vec<&str> = refused["details"]["causes"].as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.variables[0].expression", "spec.validations[0].messageExpression"]);
}

/// Behaviour: [sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should validate against a Deployment
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_made_gives_way_to_the_expression() {
    let (s, _dir) = server().await;
    let watched = s.watched_namespace().await;
    let words = json!({"messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"});
    let mut spec = replicas("object.spec.replicas > 1", words);
    spec["matchConstraints"]["namespaceSelector"] = json!({"matchLabels": {"watched": "yes"}});
    let own = json!({"expression": "namespaceObject.metadata.name == 'watched'", "message": "another namespace"});
    spec["validations"].as_array_mut().unwrap().push(own);
    s.validating_policy("many", spec).await.expect(201);
    s.bind_validating("many", json!({})).await;
    let refused = s.post(&format!("{watched}/deployments"), deployment("one", 1)).await.expect(422);
    assert!(refused["message"].as_str().unwrap().ends_with("denied request: failed expression: object.spec.replicas > 1"), "{refused}");
    assert_eq!(refused["reason"], "Invalid");
    s.post(&format!("{watched}/deployments"), deployment("two", 2)).await.expect(201);
    s.post(&format!("{watched}/replicasets"), replica_set("one", 1)).await.expect(201);
    s.post(DEPLOYMENTS, deployment("elsewhere", 1)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policys_status_tells_what_cannot_be_right_by_the_schemas() {
    let (s, _dir) = server().await;
    tokio::spawn(apiserver::admission::check_types(s.api.clone(), s.stop.clone()));
    let checked = async |name: &str| {
        let uri = format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}");
        for _ in 0..200 {
            let policy = s.get(&uri).await.expect(200);
            if policy["status"]["typeChecking"].is_object() {
                return policy["status"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{name} is never checked");
    };
    let about =
        json!({"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]});
    let policy = |expression: &str, message: &str| json!({"matchConstraints": about, "validations": [{"expression": expression, "messageExpression": message}]});
    s.validating_policy("right", policy("object.spec.replicas > 1", "'wants ' + string(object.spec.replicas)")).await.expect(201);
    assert_eq!(checked("right").await, json!({"observedGeneration": 1, "typeChecking": {}}));
    s.validating_policy("confused", policy("object.spec.replicas > '1'", "'wants ' + object.spec.replicas")).await.expect(201);
    let status = checked("confused").await;
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    let told: Vec<&str> = warnings.iter().map(|w| w["fieldRef"].as_str().unwrap()).collect();
    assert_eq!(told, ["spec.validations[0].expression", "spec.validations[0].messageExpression"]);
    let first = warnings[0]["warning"].as_str().unwrap();
    assert!(
        first.starts_with("apps/v1, Kind=Deployment: ")
            && first.contains("found no matching overload for '_>_' applied to '(int, string)'"),
        "{first}"
    );
    assert!(warnings[1]["warning"].as_str().unwrap().contains("found no matching overload for '_+_' applied to '(string, int)'"));
}

use super::backend::*;
use super::*;

/// Adds a stage to the data when the one before is there.
fn stages(path: &str, asked: &Value) -> Reply {
    let data = &asked["request"]["object"]["data"];
    let add = |key: &str| patch(asked, json!([{"op": "add", "path": format!("/data/{key}"), "value": "yes"}]));
    match path {
        "/one" if data["start"].is_string() && data["one"].is_null() => add("one"),
        "/two" if data["one"].is_string() && data["two"].is_null() => add("two"),
        "/zero" if data["two"].is_string() && data["zero"].is_null() => add("zero"),
        _ => allow(asked),
    }
}

fn create() -> Value {
    json!([rule(&["CREATE"], "", &["configmaps"])])
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate configmap
#[tokio::test(flavor = "multi_thread")]
async fn each_webhook_sees_what_the_one_before_has_made() {
    let (s, _dir) = server().await;
    let backend = Backend::start(stages).await;
    let hooks = ["one", "two"].map(|n| hook(&format!("{n}.example.com"), backend.client(&format!("/{n}")), create(), json!({})));
    s.mutating("stages", json!(hooks)).await;
    let made = s.post(MAPS, map("a", json!({"start": "yes"}))).await.expect(201);
    assert_eq!(made["data"], json!({"start": "yes", "one": "yes", "two": "yes"}));
    assert_eq!(s.post(&format!("{MAPS}?dryRun=All"), map("b", json!({"start": "yes"}))).await.expect(201)["data"]["two"], "yes");
    assert_eq!(backend.asked("/one").last().unwrap()["dryRun"], true);
    // What admission adds belongs to nobody.
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:data"];
    assert_eq!((&owned["f:start"], owned.get("f:one")), (&json!({}), None));
    // A webhook is asked before a name is made up.
    s.post(MAPS, json!({"metadata": {"generateName": "g-"}})).await.expect(201);
    let asked = backend.asked("/one").pop().unwrap();
    assert_eq!((asked.get("name"), asked["object"]["metadata"].get("name")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_asks_for_it_is_called_again_after_others_changed_the_object() {
    let (s, _dir) = server().await;
    let backend = Backend::start(stages).await;
    let zero = |again: &str| hook("zero.example.com", backend.client("/zero"), create(), json!({"reinvocationPolicy": again}));
    let rest = ["one", "two"].map(|n| hook(&format!("{n}.example.com"), backend.client(&format!("/{n}")), create(), json!({})));
    // By name: `a-zero` comes before `b-rest`.
    s.mutating("b-rest", json!(rest)).await;
    s.mutating("a-zero", json!([zero("Never")])).await;
    let made = s.post(MAPS, map("never", json!({"start": "yes"}))).await.expect(201);
    assert_eq!((&made["data"]["two"], &made["data"]["zero"]), (&json!("yes"), &Value::Null));
    s.delete(&format!("{MUTATING}/a-zero"), Value::Null).await.expect(200);
    s.mutating("a-zero", json!([zero("IfNeeded")])).await;
    let made = s.post(MAPS, map("needed", json!({"start": "yes"}))).await.expect(201);
    assert_eq!(made["data"]["zero"], "yes");
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate pod and apply defaults after mutation
#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_adds_is_defaulted_and_pruned() {
    let (s, _dir) = server().await;
    s.default_account().await;
    let backend = Backend::start(|_, asked| {
        let init = json!([{"name": "init", "image": "x"}]);
        patch(
            asked,
            json!([{"op": "add", "path": "/spec/initContainers", "value": init}, {"op": "add", "path": "/spec/unheardOf", "value": 1}]),
        )
    })
    .await;
    let rules = json!([rule(&["CREATE"], "", &["pods"])]);
    s.mutating("init", json!([hook("init.example.com", backend.client("/"), rules, json!({}))])).await;
    let made = s.post(PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})).await.expect(201);
    let init = &made["spec"]["initContainers"][0];
    assert_eq!((&init["terminationMessagePolicy"], &init["name"]), (&json!("File"), &json!("init")));
    assert!(made["spec"].get("unheardOf").is_none());
    assert!(init["volumeMounts"][0]["mountPath"].is_string(), "built-in plugins see the object again");
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_reach_the_client() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| review(asked, json!({"allowed": true, "warnings": ["old news"]}))).await;
    s.mutating("warn", json!([hook("warn.example.com", backend.client("/"), create(), json!({}))])).await;
    let answer = s.post(MAPS, map("a", json!({}))).await;
    assert_eq!((answer.code, answer.warnings.as_slice()), (201, &["299 - \"old news\"".to_string()][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_an_object_that_goes() {
    let (s, _dir) = server().await;
    s.map("a").await;
    let backend = Backend::start(|_, asked| patch(asked, json!([{"op": "add", "path": "/data", "value": {}}]))).await;
    let rules = json!([rule(&["DELETE"], "", &["configmaps"])]);
    s.mutating("late", json!([hook("late.example.com", backend.client("/"), rules, json!({}))])).await;
    let refused = s.delete(&format!("{MAPS}/a"), Value::Null).await.expect(500);
    assert_eq!(
        refused["message"],
        "Internal error occurred: admission webhook \"late.example.com\" attempted to modify the object, which is not supported for this operation"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_owners_from_a_webhook_are_put_back() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| {
        patch(asked, json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{"manager": "m", "operation": "Odd"}]}]))
    })
    .await;
    s.mutating("owners", json!([hook("owners.example.com", backend.client("/"), create(), json!({}))])).await;
    let answer = s.post(MAPS, map("a", json!({"k": "v"}))).await;
    assert!(answer.warnings[0].contains(".metadata.managedFields was in an invalid state after admission"), "{:?}", answer.warnings);
    assert_eq!(answer.expect(201)["metadata"]["managedFields"][0]["operation"], "Update");
}

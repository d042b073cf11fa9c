use super::backend::*;
use super::*;
use std::time::Duration;

fn create() -> Value {
    json!([rule(&["CREATE"], "", &["configmaps"])])
}

async fn message(s: &Server, name: &str) -> String {
    s.post(MAPS, map(name, json!({}))).await.expect(500)["message"].as_str().unwrap().to_string()
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should honor timeout
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_ends_at_its_timeout() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, _| Reply::Hang).await;
    let slow =
        |name: &str, policy: &str| hook(name, backend.client("/slow"), create(), json!({"timeoutSeconds": 1, "failurePolicy": policy}));
    s.validating("slow", json!([slow("fail.example.com", "Fail")])).await;
    let expected = format!(
        "Internal error occurred: failed calling webhook \"fail.example.com\": failed to call webhook: Post \"https://{}/slow?timeout=1s\": context deadline exceeded",
        backend.address
    );
    assert_eq!(message(&s, "a").await, expected);
    s.delete(&format!("{VALIDATING}/slow"), Value::Null).await.expect(200);
    s.validating("slow", json!([slow("ignore.example.com", "Ignore")])).await;
    s.mutating("slow", json!([slow("ignore-too.example.com", "Ignore")])).await;
    s.post(MAPS, map("a", json!({}))).await.expect(201);
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should honor timeout
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_webhook_is_waited_for_within_its_timeout_or_the_usual_one() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| Reply::Slow(Duration::from_millis(1500), Box::new(allow(asked)))).await;
    let mut patient = hook("slow.example.com", backend.client("/"), create(), json!({"timeoutSeconds": 20, "failurePolicy": "Fail"}));
    s.validating("slow", json!([patient.clone()])).await;
    s.post(MAPS, map("a", json!({}))).await.expect(201);
    s.delete(&format!("{VALIDATING}/slow"), Value::Null).await.expect(200);
    patient.as_object_mut().unwrap().remove("timeoutSeconds");
    s.validating("slow", json!([patient])).await;
    s.post(MAPS, map("b", json!({}))).await.expect(201);
    assert_eq!(backend.asked("/").len(), 2);
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should unconditionally reject operations on fail closed webhook
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_or_not_to_be_trusted_fails_closed_or_open() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| allow(asked)).await;
    // Nobody listens there any more.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let down = json!({"url": format!("https://{free}/x"), "caBundle": backend.ca});
    s.mutating("down", json!([hook("down.example.com", down.clone(), create(), json!({}))])).await;
    assert_eq!(
        message(&s, "a").await,
        format!(
            "Internal error occurred: failed calling webhook \"down.example.com\": failed to call webhook: Post \"https://{free}/x?timeout=10s\": dial tcp {free}: connect: connection refused"
        )
    );
    s.delete(&format!("{MUTATING}/down"), Value::Null).await.expect(200);
    let mut stranger = backend.client("/");
    stranger.as_object_mut().unwrap().remove("caBundle");
    s.validating("stranger", json!([hook("stranger.example.com", stranger, create(), json!({}))])).await;
    assert!(message(&s, "a").await.ends_with("tls: failed to verify certificate: x509: certificate signed by unknown authority"));
    s.delete(&format!("{VALIDATING}/stranger"), Value::Null).await.expect(200);
    s.validating("down", json!([hook("down.example.com", down, create(), json!({"failurePolicy": "Ignore"}))])).await;
    s.post(MAPS, map("a", json!({}))).await.expect(201);

    // All of it is counted.
    let counted = s.metrics().await;
    let name = |name: &str| format!("name=\"{name}.example.com\",operation=\"CREATE\"");
    for line in [
        format!("webhook_rejection_count{{error_type=\"calling_webhook_error\",{},rejection_code=\"503\",type=\"admit\"}} 1", name("down")),
        format!("webhook_request_total{{code=\"503\",{},rejected=\"true\",type=\"validating\"}} 1", name("stranger")),
        format!("webhook_request_total{{code=\"503\",{},rejected=\"false\",type=\"validating\"}} 1", name("down")),
        "webhook_fail_open_count{name=\"down.example.com\",type=\"validating\"} 1".into(),
        format!("webhook_admission_duration_seconds_count{{{},rejected=\"true\",type=\"admit\"}} 1", name("down")),
    ] {
        assert!(counted.contains(&format!("apiserver_admission_{line}\n")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_failures_of_the_call() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|path, asked| match path {
        "/code" => Reply::Code(500, "boom"),
        "/text" => Reply::Code(200, "hello"),
        "/flood" => Reply::Json(json!({"much": "x".repeat(9 << 20)})),
        "/other" => {
            Reply::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "x", "allowed": true}}))
        }
        _ => review(asked, json!({"allowed": true, "patchType": "JSONPatch", "patch": "W10="})),
    })
    .await;
    for (path, why) in [
        ("/code", "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding"),
        ("/text", "failed to call webhook: couldn't get version/kind; json parse error"),
        ("/flood", "failed to call webhook: Post "),
        ("/other", "received invalid webhook response: expected response.uid="),
        ("/patch", "received invalid webhook response: validating webhook may not return response.patch"),
    ] {
        s.validating("x", json!([hook("x.example.com", backend.client(path), create(), json!({}))])).await;
        let told = message(&s, "a").await;
        assert!(told.starts_with(&format!("Internal error occurred: failed calling webhook \"x.example.com\": {why}")), "{told}");
        s.delete(&format!("{VALIDATING}/x"), Value::Null).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_are_kept_from_webhooks_with_side_effects() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| allow(asked)).await;
    let one = |effects: &str| json!([hook("x.example.com", backend.client("/"), create(), json!({"sideEffects": effects}))]);
    let refused = s.post(VALIDATING, json!({"metadata": {"name": "x"}, "webhooks": one("Some")})).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("sideEffects"), "{refused}");
    s.validating("x", one("NoneOnDryRun")).await;
    s.post(&format!("{MAPS}?dryRun=All"), map("a", json!({}))).await.expect(201);
    assert_eq!(backend.asked("/")[0]["dryRun"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_stands_for_its_endpoints() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| deny(asked, "by service")).await;
    let port = backend.address.port();
    let client = json!({"service": {"namespace": "default", "name": "hook", "path": "/svc", "port": port}, "caBundle": backend.ca});
    s.validating("x", json!([hook("x.example.com", client, create(), json!({}))])).await;
    assert_eq!(
        message(&s, "a").await,
        format!(
            "Internal error occurred: failed calling webhook \"x.example.com\": failed to call webhook: Post \"https://hook.default.svc:{port}/svc?timeout=10s\": services \"hook\" not found"
        )
    );
    let services = "/api/v1/namespaces/default/services";
    s.post(services, json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": port}]}})).await.expect(201);
    assert!(message(&s, "a").await.ends_with("no endpoints available for service \"hook\""));
    s.delete(&format!("{services}/hook"), Value::Null).await.expect(200);
    s.post(services, json!({"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}}))
        .await
        .expect(201);
    let refused = s.post(MAPS, map("a", json!({}))).await.expect(403);
    assert_eq!(refused["message"], "admission webhook \"x.example.com\" denied the request: by service");
}

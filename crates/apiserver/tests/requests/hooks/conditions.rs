//! Match conditions: expressions that keep requests from a webhook.

use super::backend::*;
use super::*;

fn conditions(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(name, expression)| json!({"name": name, "expression": expression})).collect()
}

/// A webhook for config maps with these conditions.
fn conditional(backend: &Backend, conditions: Value) -> Value {
    let rules = json!([rule(&["CREATE"], "", &["configmaps"])]);
    json!([hook("h.example.com", backend.client("/"), rules, json!({"matchConditions": conditions}))])
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update mutating webhook configurations with match conditions
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update validating webhook configurations with match conditions
#[tokio::test(flavor = "multi_thread")]
async fn they_are_kept_as_they_were_written_and_updated() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| allow(asked)).await;
    let first = conditions(&[("expression-1", "object.metadata.namespace == 'production'")]);
    let mut both = first.as_array().unwrap().clone();
    both.extend(conditions(&[("expression-2", "object.metadata.namespace == 'default'")]).as_array().unwrap().clone());
    for collection in [MUTATING, VALIDATING] {
        let uri = format!("{collection}/h");
        s.post(collection, json!({"metadata": {"name": "h"}, "webhooks": conditional(&backend, first.clone())})).await.expect(201);
        let mut read = s.get(&uri).await.expect(200);
        assert_eq!(read["webhooks"][0]["matchConditions"], first);
        read["webhooks"][0]["matchConditions"] = json!(both);
        s.put(&uri, read).await.expect(200);
        assert_eq!(s.get(&uri).await.expect(200)["webhooks"][0]["matchConditions"], json!(both));
        // Every one of them has to hold: one does, the other does not.
        s.post(MAPS, map(if collection == MUTATING { "a" } else { "b" }, json!({}))).await.expect(201);
        assert!(backend.calls.lock().is_empty());
    }
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should reject mutating webhook configurations with invalid match conditions
/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should reject validating webhook configurations with invalid match conditions
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_compile_is_refused() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| allow(asked)).await;
    for collection in [MUTATING, VALIDATING] {
        for (expression, why) in
            [("... [] bad expression", "compilation failed"), ("object.metadata.name", "must evaluate to bool"), ("", "Required value")]
        {
            let hooks = conditional(&backend, conditions(&[("invalid-expression-1", expression)]));
            let refused = s.post(collection, json!({"metadata": {"name": "h"}, "webhooks": hooks})).await.expect(422);
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("webhooks[0].matchConditions[0].expression: ") && message.contains(why), "{message}");
        }
        let twice = conditional(&backend, conditions(&[("one", "true"), ("one", "false")]));
        let refused = s.post(collection, json!({"metadata": {"name": "h"}, "webhooks": twice})).await.expect(422);
        assert!(refused["message"].as_str().unwrap().contains("matchConditions[1].name: Duplicate value: \"one\""), "{refused}");
        s.get(&format!("{collection}/h")).await.expect(404);
    }
}

/// Behaviour: [sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate everything except 'skip-me' configmaps
#[tokio::test(flavor = "multi_thread")]
async fn a_mutating_webhook_passes_over_what_its_conditions_leave_out() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| patch(asked, json!([{"op": "add", "path": "/data/mutated", "value": "yes"}]))).await;
    s.mutating("h", conditional(&backend, conditions(&[("skip-me", "object.metadata.name != 'skip-me'")]))).await;
    let made = s.post(MAPS, map("other", json!({"start": "yes"}))).await.expect(201);
    assert_eq!(made["data"], json!({"start": "yes", "mutated": "yes"}));
    let skipped = s.post(MAPS, map("skip-me", json!({"start": "yes"}))).await.expect(201);
    assert_eq!(skipped["data"], json!({"start": "yes"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validating_webhook_does_so_too_and_what_cannot_be_decided_fails_closed() {
    let (s, _dir) = server().await;
    let backend = Backend::start(|_, asked| deny(asked, "no")).await;
    s.validating("h", conditional(&backend, conditions(&[("skip-me", "object.metadata.name != 'skip-me'")]))).await;
    s.post(MAPS, map("skip-me", json!({}))).await.expect(201);
    s.post(MAPS, map("other", json!({}))).await.expect(403);
    s.delete(&format!("{VALIDATING}/h"), Value::Null).await.expect(200);
    // Without asking the webhook.
    let asked = backend.asked("/").len();
    s.validating("h", conditional(&backend, conditions(&[("odd", "object.nothing == 1")]))).await;
    let refused = s.post(MAPS, map("other", json!({}))).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("no such key: nothing"), "{refused}");
    assert_eq!(backend.asked("/").len(), asked);
}

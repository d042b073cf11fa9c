//! Custom resources: rules, ratcheting, defaults, subresources, versions.

use crate::support::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

/// A definition of Things with this schema of the spec, and more in its version.
pub fn definition(spec: Value, more: Value) -> Value {
    let schema =
        json!({"type": "object", "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    for (key, value) in more.as_object().into_iter().flatten() {
        version[key.as_str()] = value.clone();
    }
    json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"], "categories": ["all"]}, "versions": [version]}})
}

/// A server that looks after definitions.
pub async fn serving() -> (Server, Dir, tokio_util::sync::DropGuard) {
    let (s, dir) = server().await;
    let stop = CancellationToken::new();
    tokio::spawn(apiserver::custom::run(s.api.clone(), stop.clone()));
    (s, dir, stop.drop_guard())
}

/// Waits until the definition of Things has a condition.
pub async fn wait(s: &Server, condition: &str) -> Value {
    for _ in 0..400 {
        let definition = s.get(&format!("{DEFINITIONS}/things.example.com")).await.body;
        let all = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if all.iter().any(|c| c["type"] == condition && c["status"] == "True") {
            return definition;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no {condition}");
}

pub async fn define(s: &Server, spec: Value, more: Value) -> Value {
    s.post(DEFINITIONS, definition(spec, more)).await.expect(201);
    wait(s, "Established").await
}

/// Changes the definition, and waits until it refuses what it shall not let in any more.
async fn redefine(s: &Server, spec: Value, refused: Value) {
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec", "value": spec}]);
    let uri = format!("{DEFINITIONS}/things.example.com");
    s.patch(&uri, "application/json-patch+json", patch).await.expect(200);
    for _ in 0..400 {
        let mut probe = thing(refused.clone());
        probe["metadata"]["name"] = "probe".into();
        if s.post(&format!("{THINGS}?dryRun=All"), probe).await.code == 422 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{refused} is let in");
}

pub fn thing(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec})
}

fn message(answer: Answer) -> String {
    answer.expect(422)["message"].as_str().unwrap_or_default().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_definition_are_held() {
    let (s, _dir, _stop) = serving().await;
    let rules = json!([
        {"rule": "self.min <= self.max", "message": "min must not be above max", "fieldPath": ".min", "reason": "FieldValueForbidden"},
        {"rule": "self.max < 100", "messageExpression": "self.max > 150 ? 'far too much' : 'too much'"},
        {"rule": "self.min == oldSelf.min", "message": "min is fixed"},
        {"rule": "!oldSelf.hasValue() || self.max >= oldSelf.value().max", "optionalOldSelf": true},
    ]);
    let spec = json!({"type": "object", "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"},
        "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self != 'bad'"}]}}},
        "x-kubernetes-validations": rules});
    define(&s, spec, json!({})).await;
    let refused = s.post(THINGS, thing(json!({"min": 3, "max": 2}))).await.expect(422);
    let cause = &refused["details"]["causes"][0];
    assert_eq!((cause["reason"].as_str(), cause["field"].as_str()), (Some("FieldValueForbidden"), Some("spec.min")));
    assert_eq!(cause["message"], "Forbidden: min must not be above max");
    assert_eq!(
        message(s.post(THINGS, thing(json!({"min": 1, "max": 200}))).await),
        "Thing.example.com \"t\" is invalid: spec: Invalid value: far too much"
    );
    assert_eq!(
        message(s.post(THINGS, thing(json!({"min": 1, "max": 2, "names": ["a", "bad"]}))).await),
        "Thing.example.com \"t\" is invalid: spec.names[1]: Invalid value: \"bad\": failed rule: self != 'bad'"
    );
    assert!(
        message(s.post(THINGS, thing(json!({"max": 2}))).await).contains("no such key: min evaluating rule: min must not be above max")
    );
    s.post(THINGS, thing(json!({"min": 1, "max": 20}))).await.expect(201);
    let t = format!("{THINGS}/t");
    assert!(message(s.patch(&t, MERGE, json!({"spec": {"min": 2}})).await).ends_with("spec: Invalid value: min is fixed"));
    assert!(message(s.patch(&t, MERGE, json!({"spec": {"max": 10}})).await).contains("failed rule: !oldSelf.hasValue()"));
    s.patch(&t, MERGE, json!({"spec": {"max": 30}})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_with_rules_that_cannot_be_used_is_refused() {
    let (s, _dir) = server().await;
    let with = |rule: &str| {
        let list = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": rule}]});
        definition(json!({"type": "object", "properties": {"l": list}}), json!({}))
    };
    let refused = s.post(DEFINITIONS, with("self.nope")).await.expect(422);
    let cause = &refused["details"]["causes"][0];
    assert_eq!(cause["field"], "spec.validation.openAPIV3Schema.properties[spec].properties[l].x-kubernetes-validations[0].rule");
    assert!(
        cause["message"]
            .as_str()
            .unwrap()
            .contains("compilation failed: ERROR: <input>:1:5: type 'list(string)' does not support field selection")
    );
    let refused = s.post(DEFINITIONS, with("self.all(x, self.all(y, x == y))")).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("estimated rule cost exceeds budget by factor of more than 100x"));
    s.post(DEFINITIONS, with("self.all(x, x != '')")).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_so_before_a_stricter_schema_may_stay() {
    let (s, _dir, _stop) = serving().await;
    let spec = |strict: bool| {
        let mut name = json!({"type": "string"});
        let mut spec = json!({"type": "object", "properties": {"n": {"type": "integer"}, "name": {"type": "string"}, "inner": {"type": "object", "properties": {"a": {"type": "integer"}}}}});
        if strict {
            name["maxLength"] = 3.into();
            spec["properties"]["name"] = name;
            spec["properties"]["inner"]["x-kubernetes-validations"] = json!([{"rule": "self.a > 10"}]);
        }
        spec
    };
    define(&s, spec(false), json!({})).await;
    s.post(THINGS, thing(json!({"n": 1, "name": "too long", "inner": {"a": 1}}))).await.expect(201);
    redefine(&s, spec(true), json!({"name": "too long"})).await;
    let t = format!("{THINGS}/t");
    s.patch(&t, MERGE, json!({"spec": {"n": 2}})).await.expect(200);
    s.patch(&t, MERGE, json!({"spec": {"name": "still too long"}})).await.expect(422);
    assert!(message(s.patch(&t, MERGE, json!({"spec": {"inner": {"a": 2}}})).await).contains("failed rule: self.a > 10"));
    s.patch(&t, MERGE, json!({"spec": {"name": "ok", "inner": {"a": 20}}})).await.expect(200);
}

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

#[tokio::test(flavor = "multi_thread")]
async fn schemas_default_prune_and_keep() {
    let (s, _dir, _stop) = serving().await;
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}}});
    let spec = json!({"type": "object", "properties": {
        "size": {"x-kubernetes-int-or-string": true},
        "note": {"type": "string", "nullable": true}, "level": {"type": "integer", "default": 3},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "when": {"type": "string", "format": "date-time"}}});
    define(&s, spec, json!({})).await;
    let given = json!({"size": "10%", "note": null, "level": null, "tags": null, "unknown": 1, "ports": [{"name": "http", "x": 1}], "free": {"any": {"thing": [1]}}, "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "nope": 1}, "spec": {"x": 1}},
        "when": "2024-01-01T00:00:00Z"});
    let made = s.post(THINGS, thing(given)).await;
    assert!(made.warnings.iter().any(|w| w.contains("unknown field \\\"spec.unknown\\\"")), "{:?}", made.warnings);
    let made = made.expect(201);
    assert_eq!(
        made["spec"],
        json!({"size": "10%", "note": null, "level": 3, "ports": [{"name": "http", "port": 80}], "free": {"any": {"thing": [1]}},
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": 1}}, "when": "2024-01-01T00:00:00Z"})
    );
    for (spec, wanted) in [
        (json!({"size": true}), "spec.size: Invalid value: \"boolean\": spec.size in body must be of type integer,string: \"boolean\""),
        (json!({"ports": [{"name": "a"}, {"name": "a"}]}), "spec.ports[1]: Duplicate value: {\"name\":\"a\"}"),
        (json!({"tags": ["a", "a"]}), "spec.tags[1]: Duplicate value: \"a\""),
        (json!({"template": {"kind": "Pod"}}), "spec.template.apiVersion: Required value: must not be empty"),
        (json!({"ports": "none"}), "spec.ports: Invalid value: \"string\": spec.ports in body must be of type array: \"string\""),
        (json!({"tags": [null]}), "spec.tags[0] in body must be of type string: \"null\""),
        (json!({"when": "yesterday"}), "spec.when in body must be of type date-time: \"yesterday\""),
    ] {
        let shown = message(s.post(THINGS, thing(spec)).await);
        assert!(shown.contains(wanted), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_scale_are_resources_of_their_own() {
    let (s, _dir, _stop) = serving().await;
    let spec = json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "color": {"type": "string"}}});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let more = json!({"subresources": {"status": {}, "scale": scale}, "selectableFields": [{"jsonPath": ".spec.color"}],
        "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}]});
    let definition = define(&s, spec, more).await;
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    let mut object = thing(json!({"replicas": 2, "color": "red"}));
    object["status"] = json!({"replicas": 9});
    let made = s.post(THINGS, object).await.expect(201);
    assert!(made.get("status").is_none() && made["metadata"]["generation"] == 1);
    let t = format!("{THINGS}/t");
    let changed = s.patch(&format!("{t}/status"), MERGE, json!({"spec": {"replicas": 7}, "status": {"replicas": 2}})).await.expect(200);
    assert_eq!(
        (&changed["spec"]["replicas"], &changed["status"]["replicas"], &changed["metadata"]["generation"]),
        (&json!(2), &json!(2), &json!(1))
    );
    let scale = s.get(&format!("{t}/scale")).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!("Scale"), &json!(2), &json!(2)));
    s.patch(&format!("{t}/scale"), MERGE, json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(s.get(&t).await.expect(200)["spec"]["replicas"], 5);
    assert_eq!(names(&s.get(&format!("{THINGS}?fieldSelector=spec.color%3Dred")).await.expect(200)), ["t"]);
    assert!(names(&s.get(&format!("{THINGS}?fieldSelector=spec.color%3Dblue")).await.expect(200)).is_empty());
    let table = s.get_as(&t, "application/json;as=Table;v=v1;g=meta.k8s.io").await.expect(200);
    assert_eq!(table["rows"][0]["cells"], json!(["t", "red"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_goes_takes_its_objects_along() {
    let (s, _dir, _stop) = serving().await;
    let defined = define(&s, json!({"type": "object"}), json!({})).await;
    assert_eq!(defined["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let mut held = thing(json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    s.post(THINGS, held).await.expect(201);
    let uri = format!("{DEFINITIONS}/things.example.com");
    s.delete(&uri, Value::Null).await.expect(200);
    wait(&s, "Terminating").await;
    s.post(THINGS, thing(json!({}))).await.expect(405);
    let t = format!("{THINGS}/t");
    for _ in 0..400 {
        if s.get(&t).await.body["metadata"]["deletionTimestamp"].is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    s.patch(&t, MERGE, json!({"metadata": {"finalizers": null}})).await.expect(200);
    for _ in 0..400 {
        if s.get(&uri).await.code == 404 {
            s.get(THINGS).await.expect(404);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the definition is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_and_go_only_while_nothing_is_stored_in_them() {
    let (s, _dir, _stop) = serving().await;
    let mut both = definition(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), json!({}));
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    s.post(DEFINITIONS, both).await.expect(201);
    wait(&s, "Established").await;
    s.post(THINGS, thing(json!({"a": 1}))).await.expect(201);
    let newer = s.get("/apis/example.com/v2/namespaces/default/things/t").await.expect(200);
    assert_eq!((&newer["apiVersion"], &newer["spec"]["a"]), (&json!("example.com/v2"), &json!(1)));
    let uri = format!("{DEFINITIONS}/things.example.com");
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false}, {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let moved = s.patch(&uri, "application/json-patch+json", patch).await.expect(200);
    assert_eq!(moved["status"]["storedVersions"], json!(["v1", "v2"]));
    let drop = json!([{"op": "remove", "path": "/spec/versions/0"}]);
    assert!(
        message(s.patch(&uri, "application/json-patch+json", drop.clone()).await)
            .contains("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions")
    );
    s.patch(&format!("{uri}/status"), MERGE, json!({"status": {"storedVersions": ["v2"]}})).await.expect(200);
    s.patch(&uri, "application/json-patch+json", drop).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_are_not_structural_are_refused() {
    let (s, _dir) = server().await;
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    for (spec, wanted) in [
        (object(json!({"a": {"$ref": "#/definitions/spec"}})), "properties[a].$ref: Forbidden: $ref is not supported"),
        (object(json!({"a": {"type": "string", "default": 5}})), "properties[a].default: Invalid value"),
        (
            object(json!({"a": {"type": "object", "default": {"x": 1}}})),
            "properties[a].default: Invalid value: {\"x\":1}: must not have unknown fields",
        ),
        (object(json!({"a": {"type": "string", "pattern": "("}})), "must be a valid regular expression, but isn't"),
        (
            object(json!({"a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}}})),
            "properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            object(json!({"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}})),
            "must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            json!({"type": "object", "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}),
            "x-kubernetes-validations: Forbidden: must be empty to be structural",
        ),
    ] {
        let shown = message(s.post(DEFINITIONS, definition(spec, json!({}))).await);
        assert!(shown.contains(wanted), "{shown}");
    }
    let with =
        |more: Value| definition(object(json!({"a": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}}})), more);
    for (path, wanted) in [
        (".spec.l", "must point to a field of type string, boolean or integer"),
        (".spec.nope", "is an invalid path: does not refer to a valid field"),
        (".metadata.name", "is an invalid path"),
    ] {
        let shown = message(s.post(DEFINITIONS, with(json!({"selectableFields": [{"jsonPath": path}]}))).await);
        assert!(shown.contains(wanted), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_was_let_in_once_can_still_be_changed_elsewhere() {
    let (s, _dir, _stop) = serving().await;
    define(&s, json!({"type": "object", "properties": {"a": {"type": "string"}}}), json!({})).await;
    let uri = format!("{DEFINITIONS}/things.example.com");
    let rules = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations", "value": [{"rule": "self.nope"}]}]);
    assert!(message(s.patch(&uri, "application/json-patch+json", rules).await).contains("undefined field 'nope'"));
    let names = json!({"spec": {"names": {"shortNames": ["thg"]}}});
    assert_eq!(s.patch(&uri, MERGE, names).await.expect(200)["spec"]["names"]["shortNames"], json!(["thg"]));
}

//! Fields that a kind does not have, and fields that are there twice.

use super::definitions::{self, Definition};
use crate::support::*;
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const YAML: &str = "application/yaml";

async fn text(s: &Server, method: &str, uri: &str, content: &str, body: &str) -> Answer {
    s.text(method, uri, content, body.to_string()).await
}

fn said(answer: &Value) -> &str {
    answer["message"].as_str().unwrap()
}

/// Behaviour: [sig-api-machinery] FieldValidation should detect unknown and duplicate fields of a typed object
#[tokio::test(flavor = "multi_thread")]
async fn strict_writes_refuse_unknown_and_doubled_fields_of_a_built_in_kind() {
    let (s, _dir) = server().await;
    let body = r#"{"metadata": {"name": "d"}, "spec": {"replicas": 1, "replicas": 2, "unknownField": "x",
        "selector": {"matchLabels": {"a": "d"}}, "template": {"metadata": {"labels": {"a": "d"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}}"#;
    let refused = text(&s, "POST", &format!("{DEPLOYMENTS}?fieldValidation=Strict"), JSON, body).await.expect(400);
    let wanted = r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    assert!(said(&refused).contains(wanted), "{refused}");
    let warned = text(&s, "POST", &format!("{DEPLOYMENTS}?fieldValidation=Warn&dryRun=All"), JSON, body).await;
    assert_eq!(warned.warnings.len(), 2, "{:?}", warned.warnings);
    assert_eq!(warned.expect(201)["spec"]["replicas"], 2);
    let ignored = text(&s, "POST", &format!("{DEPLOYMENTS}?fieldValidation=Ignore"), JSON, body).await;
    assert!(ignored.warnings.is_empty());
    ignored.expect(201);
}

/// Behaviour: [sig-api-machinery] FieldValidation should detect unknown metadata fields of a typed object
#[tokio::test(flavor = "multi_thread")]
async fn strict_writes_refuse_unknown_metadata_of_a_built_in_kind() {
    let (s, _dir) = server().await;
    let object = json!({"metadata": {"name": "m", "unknownMeta": "x"}});
    let refused = s.post(&format!("{MAPS}?fieldValidation=Strict"), object).await.expect(400);
    assert!(said(&refused).contains(r#"strict decoding error: unknown field "metadata.unknownMeta""#), "{refused}");
}

fn thing(name: &str, more: &str) -> String {
    format!("apiVersion: suite.example.com/v1\nkind: Thing\nmetadata:\n  name: {name}\n{more}")
}

/// Behaviour: [sig-api-machinery] FieldValidation should create/apply a valid CR for CRD with validation schema
/// Behaviour: [sig-api-machinery] FieldValidation should create/apply an invalid CR with extra properties for CRD with validation schema
#[tokio::test(flavor = "multi_thread")]
async fn an_apply_of_a_field_that_the_schema_lacks_is_refused() {
    let (s, _dir) = server().await;
    let things = definitions::serve(&s, Definition::new("things", "Thing")).await;
    let uri = |name: &str| format!("{things}/{name}?fieldManager=suite&fieldValidation=Strict");
    text(&s, "PATCH", &uri("fits"), APPLY, &thing("fits", "spec: {foo: a}\n")).await.expect(201);
    text(&s, "POST", &format!("{things}?fieldValidation=Strict"), YAML, &thing("made", "spec: {foo: a}\n")).await.expect(201);
    let refused = text(&s, "PATCH", &uri("extra"), APPLY, &thing("extra", "unknownField: x\nspec: {foo: a}\n")).await.expect(500);
    assert!(said(&refused).ends_with("Kind=Thing): .unknownField: field not declared in schema"), "{refused}");
    let refused =
        text(&s, "POST", &format!("{things}?fieldValidation=Strict"), YAML, &thing("extra", "unknownField: x\n")).await.expect(400);
    assert!(said(&refused).contains(r#"unknown field "unknownField""#), "{refused}");
}

/// Behaviour: [sig-api-machinery] FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema
#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_a_schema_takes_any_field() {
    let (s, _dir) = server().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let things = definitions::serve(&s, Definition { schema: open, ..Definition::new("things", "Thing") }).await;
    let more = "unknownField: x\nspec: {anything: {at: [all]}}\n";
    let uri = format!("{things}/any?fieldManager=suite&fieldValidation=Strict");
    let made = text(&s, "PATCH", &uri, APPLY, &thing("any", more)).await.expect(201);
    assert_eq!((&made["unknownField"], &made["spec"]["anything"]["at"]), (&json!("x"), &json!(["all"])));
}

/// Behaviour: [sig-api-machinery] FieldValidation should detect unknown metadata fields in both the root and embedded object of a CR
#[tokio::test(flavor = "multi_thread")]
async fn unknown_metadata_of_a_custom_resource_and_of_objects_in_it_is_refused() {
    let (s, _dir) = server().await;
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"template": embedded}}}});
    let things = definitions::serve(&s, Definition { schema, ..Definition::new("things", "Thing") }).await;
    let inner = "spec:\n  template: {apiVersion: v1, kind: Sub, metadata: {name: sub, unknownSubMeta: x}}\n";
    let body = thing("m", &format!("  unknownMeta: x\n{inner}"));
    let refused = text(&s, "POST", &format!("{things}?fieldValidation=Strict"), YAML, &body).await.expect(400);
    for path in ["metadata.unknownMeta", "spec.template.metadata.unknownSubMeta"] {
        assert!(said(&refused).contains(&format!("unknown field {path:?}")), "{refused}");
    }
    let uri = format!("{things}/m?fieldManager=suite&fieldValidation=Strict");
    let refused = text(&s, "PATCH", &uri, APPLY, &body).await.expect(500);
    assert!(said(&refused).contains("etadata.unknown") && said(&refused).contains("field not declared in schema"), "{refused}");
}

/// Behaviour: [sig-api-machinery] FieldValidation should detect duplicates in a CR when preserving unknown fields
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_there_twice_is_told_with_its_line() {
    let (s, _dir) = server().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let things = definitions::serve(&s, Definition { schema: open, ..Definition::new("things", "Thing") }).await;
    let body = thing("twice", "spec:\n  foo: a\n  foo: b\n");
    let uri = |validation: &str| format!("{things}/twice?fieldManager=suite&fieldValidation={validation}");
    let refused = text(&s, "PATCH", &uri("Strict"), APPLY, &body).await.expect(400);
    assert!(said(&refused).contains("line 7: key \"foo\" already set in map"), "{refused}");
    let warned = text(&s, "PATCH", &uri("Warn"), APPLY, &body).await;
    assert!(warned.warnings[0].contains("already set in map"), "{:?}", warned.warnings);
    assert_eq!(warned.expect(201)["spec"]["foo"], "b");
}

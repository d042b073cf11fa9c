use super::path::Path;
use super::*;
use crate::objects::{Object, ObjectChange, Objects};
use serde_json::json;

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["cronSpec"], "properties": {
            "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?$"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "color": {"type": "string", "enum": ["red", "blue"]},
            "port": {"x-kubernetes-int-or-string": true},
            "note": {"type": "string", "nullable": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                      "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}});
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        "additionalPrinterColumns": [{"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]})
    };
    json!({"metadata": {"name": "crontabs.example.com", "uid": "u"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList", "shortNames": ["ct"]},
        "versions": [version("v1beta1", false), version("v1", true)]}})
}

/// Nothing is there.
struct Nothing;

impl Objects for Nothing {
    fn get(&self, _: &GroupResource, _: &str, _: &str) -> Option<Arc<Object>> {
        None
    }

    fn list(&self, _: &GroupResource, _: Option<&str>) -> Vec<Arc<Object>> {
        Vec::new()
    }

    fn changes(&self, _: &GroupResource) -> tokio::sync::mpsc::UnboundedReceiver<ObjectChange> {
        tokio::sync::mpsc::unbounded_channel().1
    }
}

fn webhooks() -> Arc<Webhooks> {
    Arc::new(Webhooks::new(Arc::new(Nothing)))
}

fn kinds() -> Vec<Arc<dyn kinds::Kind>> {
    let mut definition = definition();
    names::settle(&mut definition, &[], "2026-01-01T00:00:00Z");
    assert!(names::is_true(&definition, "Established") && names::is_true(&definition, "NamesAccepted"));
    build(&definition, &webhooks()).into_iter().map(|c| c.kind).collect()
}

#[test]
fn a_definition_becomes_kinds_the_preferred_version_first() {
    let kinds = kinds();
    let versions: Vec<&str> = kinds.iter().map(|k| &*k.names().version).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    assert!(kinds[0].stored_as().is_none());
    assert_eq!(kinds[1].stored_as().map(|s| (s.group, s.version)), Some(("example.com", "v1")));
    assert_eq!(kinds[0].subresources().iter().map(|s| s.name().to_string()).collect::<Vec<_>>(), ["scale", "status"]);
    let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"cronSpec": "*"}});
    let row = kinds[0].row(&object, meta::time::parse("2026-01-01T00:05:00Z").unwrap());
    assert_eq!(row, [json!("a"), json!("*"), json!("5m")]);
}

#[test]
fn objects_are_pruned_defaulted_and_checked() {
    let kind = kinds().remove(0);
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "CronTab", "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {"cronSpec": "*/5", "extra": 1, "port": "http", "free": {"any": [1]}, "items": [{"name": "a", "b": 1}]}});
    let unknown = meta::decode::check(&kind.schema(), &mut object).unwrap();
    assert_eq!(unknown, ["spec.extra", "spec.items[0].b"]);
    kind.default(&mut object);
    assert_eq!(object["spec"], json!({"cronSpec": "*/5", "replicas": 1, "port": "http", "free": {"any": [1]}, "items": [{"name": "a"}]}));
    assert!(kind.validate_create(&object).is_empty());
    let errors = |spec: Value| kind.validate_create(&json!({"spec": spec})).to_string();
    assert_eq!(errors(json!({})), "spec.cronSpec: Required value");
    assert_eq!(
        errors(json!({"cronSpec": "x", "replicas": 0})),
        "[spec.cronSpec: Invalid value: \"x\": spec.cronSpec in body should match '^(\\d+|\\*)(/\\d+)?$', spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1]"
    );
    assert_eq!(
        errors(json!({"cronSpec": "*", "replicas": "2"})),
        "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\""
    );
    assert_eq!(
        errors(json!({"cronSpec": "*", "color": "green"})),
        "spec.color: Unsupported value: \"green\": supported values: \"blue\", \"red\""
    );
    assert_eq!(
        errors(json!({"cronSpec": "*", "items": [{"name": "a"}, {"name": "a"}]})),
        "spec.items[1]: Duplicate value: {\"name\":\"a\"}"
    );
}

#[test]
fn names_that_another_has_are_not_accepted() {
    let now = "2026-01-01T00:00:00Z";
    let mut first = definition();
    names::settle(&mut first, &[], now);
    let mut second = definition();
    second["spec"]["names"] = json!({"plural": "others", "singular": "other", "kind": "CronTab", "listKind": "CronTabList"});
    names::settle(&mut second, &[&first], now);
    assert!(!names::is_true(&second, "Established"));
    let accepted = value::items(&second, &["status", "conditions"]).iter().find(|c| c["type"] == "NamesAccepted").unwrap();
    assert_eq!(
        (accepted["reason"].as_str(), accepted["message"].as_str()),
        (Some("ListKindConflict"), Some("\"CronTabList\" is already in use"))
    );
}

#[test]
fn schema_logic_holds() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "not": {"required": ["c"]}});
    let errors = |value| kinds::apiextensions::values::validate(&schema, &value, None).0.len();
    assert_eq!(
        (errors(json!({"a": 1})), errors(json!({})), errors(json!({"a": 1, "b": 1})), errors(json!({"a": 1, "c": 1}))),
        (0, 1, 1, 1)
    );
}

#[test]
fn paths_lead_where_kubectl_columns_point() {
    let object = json!({"metadata": {"labels": {"a.b/c": "x"}}, "status": {"conditions": [{"type": "A", "status": "1"}, {"type": "Ready", "status": "2"}]}});
    for (path, found) in [
        (".metadata.labels.a\\.b/c", Some("x")),
        (".metadata.labels['a.b/c']", Some("x")),
        (".status.conditions[?(@.type==\"Ready\")].status", Some("2")),
        (".status.conditions[0].status", Some("1")),
        (".status.conditions[-1].status", Some("2")),
        (".status.conditions[*].type", Some("A")),
        (".nope.x", None),
    ] {
        assert_eq!(Path::parse(path).unwrap().first(&object).and_then(Value::as_str), found, "{path}");
    }
}

#[test]
fn versions_are_ranked_by_stability() {
    let mut versions = ["v1alpha1", "foo", "v1", "v10", "v2beta1", "v2", "v1beta2"];
    versions.sort_by(|a, b| by_stability(a, b));
    assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
}

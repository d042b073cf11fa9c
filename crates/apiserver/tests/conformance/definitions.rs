//! Custom resource definitions, and what the server makes of them.

use crate::support::*;
use serde_json::{Value, json};
use std::time::Duration;

pub const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const GROUP: &str = "suite.example.com";

pub struct Definition {
    pub plural: &'static str,
    pub kind: &'static str,
    pub schema: Value,
    /// Merged into its only version.
    pub version: Value,
}

impl Definition {
    pub fn new(plural: &'static str, kind: &'static str) -> Self {
        let with_foo = json!({"type": "object", "properties": {"foo": {"type": "string"}}});
        let schema = json!({"type": "object", "properties": {"spec": with_foo}});
        Self { plural, kind, schema, version: json!({}) }
    }

    pub fn object(&self) -> Value {
        let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": self.schema}});
        version.as_object_mut().unwrap().extend(self.version.as_object().unwrap().clone());
        let singular = self.kind.to_lowercase();
        let names = json!({"plural": self.plural, "singular": singular, "kind": self.kind, "listKind": format!("{}List", self.kind)});
        json!({"metadata": {"name": format!("{}.{GROUP}", self.plural), "labels": {"suite": "crd"}},
            "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}})
    }

    pub fn place(&self) -> String {
        format!("/apis/{GROUP}/v1/namespaces/default/{}", self.plural)
    }
}

/// Makes it, and answers where its objects are once they are served.
pub async fn serve(s: &Server, definition: Definition) -> String {
    tokio::spawn(apiserver::custom::run(s.api.clone(), s.stop.clone()));
    let made = s.post(CRDS, definition.object()).await.expect(201);
    let status = format!("{CRDS}/{}/status", made["metadata"]["name"].as_str().unwrap());
    s.until(&definition.place(), |a| a.code == 200).await;
    // What is served may be told a moment later.
    s.until(&status, |a| a.body["status"]["conditions"].is_array()).await;
    definition.place()
}

/// Behaviour: [sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition creating/deleting custom resource definition objects works
/// Behaviour: [sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition listing custom resource definition objects works
#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_made_listed_and_deleted() {
    let (s, _dir) = server().await;
    let first = serve(&s, Definition::new("things", "Thing")).await;
    s.post(CRDS, Definition::new("others", "Other").object()).await.expect(201);
    let listed = s.get(&format!("{CRDS}?labelSelector=suite%3Dcrd")).await.expect(200);
    assert_eq!(names(&listed), ["others.suite.example.com", "things.suite.example.com"]);
    s.delete(&format!("{CRDS}/things.{GROUP}"), Value::Null).await.expect(200);
    s.until(&first, |a| a.code == 404).await;
    s.delete(&format!("{CRDS}?labelSelector=suite%3Dcrd"), Value::Null).await.expect(200);
    s.until(&format!("{CRDS}/others.{GROUP}"), |a| a.code == 404).await;
}

/// Behaviour: [sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works
#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_definition_is_read_updated_and_patched() {
    let (s, _dir) = server().await;
    serve(&s, Definition::new("things", "Thing")).await;
    let status = format!("{CRDS}/things.{GROUP}/status");
    let condition = |ty: &str| json!({"type": ty, "status": "True", "reason": "Suite", "message": "told"});
    let told = |object: &Value, ty: &str| object["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == ty);
    let mut object = s.get(&status).await.expect(200);
    object["status"]["conditions"].as_array_mut().unwrap().push(condition("Updated"));
    assert!(told(&s.put(&status, object).await.expect(200), "Updated"));
    let patched = s.patch(&status, MERGE, json!({"status": {"conditions": [condition("Patched")]}})).await.expect(200);
    assert!(told(&patched, "Patched"));
}

/// Behaviour: [sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for requests and from storage works
#[tokio::test(flavor = "multi_thread")]
async fn defaults_are_there_for_new_objects_and_for_stored_ones() {
    let (s, _dir) = server().await;
    let field = |default: Value| {
        let text =
            |default: &Value| if default.is_null() { json!({"type": "string"}) } else { json!({"type": "string", "default": default}) };
        json!({"type": "object", "properties": {"a": text(&default[0]), "b": text(&default[1])}})
    };
    let things = serve(&s, Definition { schema: field(json!(["A", null])), ..Definition::new("things", "Thing") }).await;
    let thing = |name: &str| json!({"apiVersion": "suite.example.com/v1", "kind": "Thing", "metadata": {"name": name}});
    let made = s.post(&things, thing("old")).await.expect(201);
    assert_eq!((&made["a"], &made["b"]), (&json!("A"), &Value::Null));
    let change = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": field(json!([null, "B"]))}]);
    s.patch(&format!("{CRDS}/things.{GROUP}"), "application/json-patch+json", change).await.expect(200);
    for _ in 0..400 {
        if s.get(&format!("{things}/old")).await.expect(200)["b"] == "B" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    // What was stored stays, what has a default now is filled in; a new object has only the latter.
    let read = s.get(&format!("{things}/old")).await.expect(200);
    assert_eq!((&read["a"], &read["b"]), (&json!("A"), &json!("B")));
    let made = s.post(&things, thing("new")).await.expect(201);
    assert_eq!((&made["a"], &made["b"]), (&Value::Null, &json!("B")));
}

/// Behaviour: [sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources in discovery documents
#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_in_discovery() {
    let (s, _dir) = server().await;
    let groups = s.get("/apis").await.expect(200);
    let group = groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "apiextensions.k8s.io").expect("the group");
    assert!(group["versions"].as_array().unwrap().iter().any(|v| v["groupVersion"] == "apiextensions.k8s.io/v1"));
    let group = s.get("/apis/apiextensions.k8s.io").await.expect(200);
    assert!(group["versions"].as_array().unwrap().iter().any(|v| v["version"] == "v1"));
    let resources = s.get("/apis/apiextensions.k8s.io/v1").await.expect(200);
    assert!(resources["resources"].as_array().unwrap().iter().any(|r| r["name"] == "customresourcedefinitions"));
}

/// Behaviour: [sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom resource definition objects
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_watched_one_by_one() {
    let (s, _dir) = server().await;
    let things = serve(&s, Definition::new("things", "Thing")).await;
    let start = version(&s.get(&things).await.expect(200));
    for name in ["a", "b"] {
        s.post(&things, json!({"apiVersion": "suite.example.com/v1", "kind": "Thing", "metadata": {"name": name}})).await.expect(201);
    }
    s.patch(&format!("{things}/a"), MERGE, json!({"spec": {"foo": "x"}})).await.expect(200);
    for name in ["a", "b"] {
        s.delete(&format!("{things}/{name}"), Value::Null).await.expect(200);
    }
    let watch = async |name: &str, enough| {
        let uri = format!("{things}?watch=1&resourceVersion={start}&fieldSelector=metadata.name%3D{name}");
        types(&s.events(&uri, enough).await).into_iter().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(watch("a", 3).await, ["ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(watch("b", 2).await, ["ADDED", "DELETED"]);
}

/// Behaviour: [sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_selected_by_the_fields_that_their_definition_names() {
    let (s, _dir) = server().await;
    let fields = json!({"selectableFields": [{"jsonPath": ".spec.foo"}]});
    let things = serve(&s, Definition { version: fields, ..Definition::new("things", "Thing") }).await;
    let start = version(&s.get(&things).await.expect(200));
    for (name, field) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let thing = json!({"apiVersion": "suite.example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"foo": field}});
        s.post(&things, thing).await.expect(201);
    }
    assert_eq!(names(&s.get(&format!("{things}?fieldSelector=spec.foo%3Dx")).await.expect(200)), ["a", "c"]);
    s.get(&format!("{things}?fieldSelector=spec.bar%3Dx")).await.expect(400);
    s.patch(&format!("{things}/a"), MERGE, json!({"spec": {"foo": "y"}})).await.expect(200);
    let events = s.events(&format!("{things}?watch=1&resourceVersion={start}&fieldSelector=spec.foo%3Dx"), 3).await;
    assert_eq!(types(&events), ["ADDED", "ADDED", "DELETED"]);
    s.delete(&format!("{things}?fieldSelector=spec.foo%3Dy"), Value::Null).await.expect(200);
    assert_eq!(names(&s.get(&things).await.expect(200)), ["c"]);
}

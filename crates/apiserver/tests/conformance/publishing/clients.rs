use super::*;
use crate::kubectl::Kubectl;
use crate::tls::{Listening, listen};
use apiserver::{Operations, listener::Limits};

/// A server with this definition, and kubectl where it is there.
async fn publishing(published: &Published) -> (Listening, Option<Kubectl>) {
    let (listening, root) = listen(Operations::default(), Limits::default()).await;
    let s = &listening.server;
    tokio::spawn(apiserver::custom::run(s.api.clone(), s.stop.clone()));
    published.define(s).await;
    let kubectl = Kubectl::of(&listening, &root);
    (listening, kubectl)
}

const CREATE: &[&str] = &["create", "-f", "-"];
const APPLY: &[&str] = &["apply", "-f", "-"];

async fn lets_in(kubectl: &Kubectl, published: &Published, object: Value) {
    let manifest = published.manifest("test", object);
    for verb in [CREATE, APPLY] {
        kubectl.accepts(verb, &manifest).await;
        kubectl.accepts(&["delete", &published.plural(), "test"], "").await;
    }
}

/// The parts of a text, in this order.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} at its place in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD with validation schema
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_held_and_explained() {
    let foo = Published::new("foo", "Foo", &["v1"], foo());
    let (s, kubectl) = publishing(&foo).await;
    assert_eq!(foo.told(&older(&s.server).await, "v1"), foo.schema);
    let Some(kubectl) = kubectl else { return };
    lets_in(&kubectl, &foo, json!({"spec": {"bars": [{"name": "bar"}]}})).await;
    for (spec, why) in [
        (json!({"bars": [{"name": "bar", "feeling": "Odd"}]}), "Unsupported value: \"Odd\""),
        (json!({"foo": true}), "unknown field \"spec.foo\""),
        (json!({"bars": [{"age": "10"}]}), "spec.bars[0].name: Required value"),
    ] {
        for verb in [CREATE, APPLY] {
            kubectl.refuses(verb, &foo.manifest("test", json!({"spec": spec})), why).await;
        }
    }
    let explain = async |path: &str| kubectl.accepts(&["explain", path], "").await;
    let whole = ["DESCRIPTION:", "Foo for this test", "FIELDS:", "apiVersion", "<string>", "APIVersion defines"];
    says(&explain("foos").await, &[&whole[..], &["spec", "<Object>", "Specification of Foo"]].concat());
    let time = ["FIELDS:", "creationTimestamp", "<string>", "CreationTimestamp is a timestamp"];
    says(&explain("foos.metadata").await, &[&["DESCRIPTION:", "Standard object's metadata"], &time[..]].concat());
    says(&explain("foos.spec").await, &["DESCRIPTION:", "Specification of Foo", "FIELDS:", "bars", "<[]Object>", "List of Bars"]);
    let bars = ["bars", "<[]Object>", "DESCRIPTION:", "List of Bars", "FIELDS:", "bazs", "<[]string>", "List of Bazs"];
    says(&explain("foos.spec.bars").await, &[&bars[..], &["name", "<string>", "Name of Bar"]].concat());
    let older = kubectl.accepts(&["explain", "foos.spec.bars", "--output=plaintext-openapiv2"], "").await;
    says(&older, &["DESCRIPTION:", "List of Bars", "FIELDS:", "bazs", "<[]string>", "name", "<string> -required-"]);
    kubectl.refuses(&["explain", "foos.spec.bars2"], "", "field \"bars2\" does not exist").await;
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD without validation schema
#[tokio::test(flavor = "multi_thread")]
async fn without_a_schema_anything_goes() {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let empty = Published::new("empty", "Empty", &["v1"], open);
    let (s, kubectl) = publishing(&empty).await;
    assert_eq!(empty.told(&older(&s.server).await, "v1"), json!({"type": "object"}));
    let Some(kubectl) = kubectl else { return };
    lets_in(&kubectl, &empty, json!({"a": {"b": [{"c": "d"}]}})).await;
    says(&kubectl.accepts(&["explain", "emptys"], "").await, &["DESCRIPTION:", "<empty>"]);
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields at the schema root
#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_at_its_root_keeps_what_it_does_not_know() {
    let mut schema = waldo();
    schema["x-kubernetes-preserve-unknown-fields"] = true.into();
    let root = Published::new("root", "Waldo", &["v1"], schema);
    let (s, kubectl) = publishing(&root).await;
    assert_eq!(root.told(&older(&s.server).await, "v1"), json!({"type": "object"}));
    let Some(kubectl) = kubectl else { return };
    lets_in(&kubectl, &root, json!({"a": {"b": [{"c": "d"}]}})).await;
    says(&kubectl.accepts(&["explain", "waldos"], "").await, &["KIND:", "Waldo", "Waldo for this test", "spec", "<Object>"]);
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields in an embedded object
#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_further_down_keeps_it_there() {
    let mut schema = waldo();
    schema["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    let nested = Published::new("nested", "Waldo", &["v1"], schema.clone());
    let (s, kubectl) = publishing(&nested).await;
    schema["properties"]["spec"] = json!({"description": "Specification of Waldo", "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(nested.told(&older(&s.server).await, "v1"), schema);
    let Some(kubectl) = kubectl else { return };
    lets_in(&kubectl, &nested, json!({"spec": {"a": null, "b": [{"c": "d"}]}})).await;
    kubectl.refuses(CREATE, &nested.manifest("test", json!({"status": {"a": 1}})), "unknown field \"status.a\"").await;
    says(&kubectl.accepts(&["explain", "waldos"], "").await, &["DESCRIPTION:", "Waldo for this test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_called_as_a_built_in_one_is_explained_by_its_group() {
    let own = Published::new("custom", "Service", &["v1"], waldo());
    let (_s, kubectl) = publishing(&own).await;
    let Some(kubectl) = kubectl else { return };
    says(&kubectl.accepts(&["explain", "services.spec"], "").await, &["KIND:", "Service", "VERSION:", "v1", "clusterIP"]);
    let explained = kubectl.accepts(&["explain", "services.spec", "--api-version=custom.example.com/v1"], "").await;
    says(&explained, &["GROUP:", "custom.example.com", "Specification of Waldo", "FIELDS:", "dummy", "<Object>"]);
}

use super::*;

async fn serving() -> (Server, Dir) {
    let (s, dir) = server().await;
    tokio::spawn(apiserver::custom::run(s.api.clone(), s.stop.clone()));
    (s, dir)
}

/// Both are there in each of their versions, and neither when they are gone.
async fn are_published_and_removed(s: &Server, all: &[Published]) {
    for one in all {
        one.define(s).await;
    }
    let document = older(s).await;
    for one in all {
        for version in one.versions {
            assert_eq!(one.told(&document, version), one.schema);
        }
        s.delete(&one.uri(), Value::Null).await.expect(200);
        for version in one.versions {
            one.served(s, version, false).await;
        }
    }
    let document = older(s).await;
    assert!(all.iter().all(|one| one.versions.iter().all(|version| one.told(&document, version).is_null())));
    assert!(document["paths"].as_object().unwrap().keys().all(|path| !path.contains(".example.com")));
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of different groups
#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_different_groups() {
    let (s, _dir) = serving().await;
    let foo = Published::new("foo", "Foo", &["v1"], foo());
    are_published_and_removed(&s, &[foo, Published::new("waldo", "Waldo", &["v1beta1"], waldo())]).await;
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group but different versions
#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_one_group_in_different_versions() {
    let (s, _dir) = serving().await;
    are_published_and_removed(&s, &[Published::new("many", "Foo", &["v2", "v3"], foo())]).await;
    let four = Published::new("common", "Foo", &["v4"], foo());
    are_published_and_removed(&s, &[four, Published::new("common", "Waldo", &["v5"], waldo())]).await;
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group and version but different kinds
#[tokio::test(flavor = "multi_thread")]
async fn different_kinds_of_one_group_and_version() {
    let (s, _dir) = serving().await;
    let foo = Published::new("common", "Foo", &["v6"], foo());
    are_published_and_removed(&s, &[foo, Published::new("common", "Waldo", &["v6"], waldo())]).await;
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] updates the published spec when one version gets renamed
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_renamed() {
    let (s, _dir) = serving().await;
    let foo = Published::new("many", "Foo", &["v2", "v3"], foo());
    foo.define(&s).await;
    let first = s.send("GET", "/openapi/v2", &[], "").await.headers()["etag"].to_str().unwrap().to_string();
    let known = s.send("GET", "/openapi/v2", &[("if-none-match", &first)], "").await;
    assert_eq!(known.status(), 304);
    let rename = json!([{"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]);
    s.patch(&foo.uri(), "application/json-patch+json", rename).await.expect(200);
    foo.served(&s, "v4", true).await;
    foo.served(&s, "v3", false).await;
    let renewed = read(s.send("GET", "/openapi/v2", &[("if-none-match", &first)], "").await).await.expect(200);
    assert_eq!((foo.told(&renewed, "v4"), foo.told(&renewed, "v2")), (foo.schema.clone(), foo.schema.clone()));
    assert!(foo.told(&renewed, "v3").is_null());
}

/// Behaviour: [sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] removes definition from spec when one version gets changed to not be served
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_served_no_more() {
    let (s, _dir) = serving().await;
    let foo = Published::new("fewer", "Foo", &["v5", "v6alpha1"], foo());
    foo.define(&s).await;
    let mut definition = s.get(&foo.uri()).await.expect(200);
    definition["spec"]["versions"][1]["served"] = false.into();
    let before = version(&definition);
    assert!(version(&s.put(&foo.uri(), definition).await.expect(200)) > before);
    foo.served(&s, "v6alpha1", false).await;
    let document = older(&s).await;
    assert!(foo.told(&document, "v6alpha1").is_null());
    assert_eq!(foo.told(&document, "v5"), foo.schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_to_select_by_are_published_with_the_schema() {
    let (s, _dir) = serving().await;
    let waldo = Published::new("selected", "Waldo", &["v1"], json!({"type": "object", "properties": {"color": {"type": "string"}}}));
    waldo.define(&s).await;
    let uri = "/openapi/v3/apis/selected.example.com/v1";
    let before = s.send("GET", uri, &[], "").await.headers()["etag"].clone();
    let select = json!([{"op": "add", "path": "/spec/versions/0/selectableFields", "value": [{"jsonPath": ".color"}]}]);
    s.patch(&waldo.uri(), "application/json-patch+json", select).await.expect(200);
    let name = waldo.name("v1");
    let fields = |document: &Value, name: &str| document["components"]["schemas"][name]["x-kubernetes-selectable-fields"].clone();
    let document = s.until(uri, |a| !fields(&a.body, &name).is_null()).await.body;
    for name in [name.clone(), format!("{name}List")] {
        assert_eq!(fields(&document, &name), json!([{"fieldPath": "color"}]));
    }
    assert_ne!(s.send("GET", uri, &[], "").await.headers()["etag"], before);
}

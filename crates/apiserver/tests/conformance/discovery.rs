//! What the server says it serves, group by group and all at once.

use super::definitions::{self, Definition};
use crate::support::*;
use serde_json::{Value, json};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

async fn groups(s: &Server) -> Vec<Value> {
    s.get("/apis").await.expect(200)["groups"].as_array().unwrap().clone()
}

/// Behaviour: [sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup
#[tokio::test(flavor = "multi_thread")]
async fn each_group_prefers_one_of_its_versions() {
    let (s, _dir) = server().await;
    let groups = groups(&s).await;
    assert!(groups.len() > 15);
    for group in groups {
        let own = s.get(&format!("/apis/{}", group["name"].as_str().unwrap())).await.expect(200);
        let preferred = &own["preferredVersion"]["groupVersion"];
        assert!(own["versions"].as_array().unwrap().iter().any(|v| &v["groupVersion"] == preferred), "{own}");
        assert_eq!(&group["preferredVersion"]["groupVersion"], preferred);
    }
}

/// Behaviour: [sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup
#[tokio::test(flavor = "multi_thread")]
async fn each_version_of_each_group_lists_resources() {
    let (s, _dir) = server().await;
    for group in groups(&s).await {
        for version in group["versions"].as_array().unwrap() {
            let list = s.get(&format!("/apis/{}", version["groupVersion"].as_str().unwrap())).await.expect(200);
            assert_eq!((&list["kind"], &list["groupVersion"]), (&json!("APIResourceList"), &version["groupVersion"]));
            let resources = list["resources"].as_array().unwrap();
            assert!(!resources.is_empty() && resources.iter().all(|r| r["verbs"].as_array().is_some_and(|v| !v.is_empty())), "{list}");
        }
    }
}

fn find<'a>(list: &'a Value, group: &str, version: &str, resource: &str) -> Option<&'a Value> {
    let group = list["items"].as_array()?.iter().find(|g| g["metadata"]["name"].as_str().unwrap_or_default() == group)?;
    let version = group["versions"].as_array()?.iter().find(|v| v["version"] == version)?;
    version["resources"].as_array()?.iter().find(|r| r["resource"] == resource)
}

/// Behaviour: [sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface
/// Behaviour: [sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_discovered_with_two_requests_in_the_form_that_is_asked_for() {
    let (s, _dir) = server().await;
    for (uri, group, resource) in [("/api", "", "pods"), ("/apis", "apps", "deployments")] {
        let list = s.get_as(uri, &format!("{V2},application/json")).await.expect(200);
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("APIGroupDiscoveryList"), &json!("apidiscovery.k8s.io/v2")));
        let found = find(&list, group, "v1", resource).unwrap_or_else(|| panic!("{resource} is not in {list}"));
        assert_eq!(found["scope"], "Namespaced");
        assert!(found["subresources"].as_array().unwrap().iter().any(|r| r["subresource"] == "status"));
        // Whoever does not ask for it gets the old form; whoever asks for what there is not gets none.
        assert_ne!(s.get_as(uri, "application/json").await.expect(200)["kind"], "APIGroupDiscoveryList");
        let other = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";
        assert_eq!(s.get_as(uri, other).await.code, 406);
    }
}

/// Behaviour: [sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface for CRDs
/// Behaviour: [sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_discovered_together_with_the_rest() {
    let (s, _dir) = server().await;
    definitions::serve(&s, Definition::new("things", "Thing")).await;
    for _ in 0..400 {
        let list = s.get_as("/apis", V2).await.expect(200);
        if let Some(found) = find(&list, definitions::GROUP, "v1", "things") {
            assert_eq!((&found["responseKind"]["kind"], &found["singularResource"]), (&json!("Thing"), &json!("thing")));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the resource never shows");
}

/// Behaviour: [sig-api-machinery] server version should find the server version
#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_told() {
    let (s, _dir) = server().await;
    let version = s.get("/version").await.expect(200);
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."));
}

/// Behaviour: [sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which does not implement metadata
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_object_is_no_table() {
    let (s, _dir) = server().await;
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = s.send("POST", uri, &[("content-type", JSON), ("accept", table)], review).await;
    assert_eq!(answer.status(), 406);
}

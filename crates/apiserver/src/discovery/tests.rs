//! Against what a stock API server answers, where that is at hand.

use super::*;
use crate::discovery::aggregated::Version;
use http::header::ACCEPT;
use serde_json::Value;

fn published(file: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/kubernetes-1.36/discovery/{file}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: {path} is absent");
        return None;
    };
    Some(serde_json::from_slice(&text).expect("the published document parses"))
}

/// Kinds that a stock server keeps in an older version than this one does, so that their hashes differ.
const STORED_OLDER: [&str; 3] = ["customresourcedefinitions", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];

/// Whatever is served is shown as a stock server shows it.
#[test]
fn resource_lists_agree_with_those_of_a_stock_api_server() {
    let kinds = kinds::registry::builtin();
    let mut wrong = Vec::new();
    for (group, versions) in grouped(&kinds) {
        for version in versions {
            let gv = GroupVersion::new(&*group, &*version);
            let ours = lists::resources(&kinds, &gv).expect("it is served");
            let file = if group.is_empty() { format!("api__{version}.json") } else { format!("apis__{group}__{version}.json") };
            let Some(theirs) = published(&file) else { return };
            let bare = |r: &Value| {
                let mut r = r.clone();
                if STORED_OLDER.iter().any(|name| r["name"] == *name) {
                    r["storageVersionHash"] = Value::Null;
                }
                r
            };
            for resource in theirs["resources"].as_array().into_iter().flatten() {
                match ours["resources"].as_array().into_iter().flatten().find(|r| r["name"] == resource["name"]) {
                    Some(ours) if bare(ours) == bare(resource) => {}
                    Some(ours) => wrong.push(format!("{gv}: {ours} instead of {resource}")),
                    None => wrong.push(format!("{gv}: {} is missing", resource["name"])),
                }
            }
            for resource in ours["resources"].as_array().into_iter().flatten() {
                if !theirs["resources"].as_array().into_iter().flatten().any(|r| r["name"] == resource["name"]) {
                    wrong.push(format!("{gv}: {} is not upstream's", resource["name"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_aggregated_list_agrees_with_that_of_a_stock_api_server() {
    let kinds = kinds::registry::builtin();
    let Some(theirs) = published("aggregated_v2.json") else { return };
    let ours = aggregated::list(&grouped(&kinds), &kinds, &[], false, Version::V2);
    let mut wrong = Vec::new();
    for group in ours["items"].as_array().into_iter().flatten() {
        let name = &group["metadata"]["name"];
        let Some(their_group) = theirs["items"].as_array().into_iter().flatten().find(|g| g["metadata"]["name"] == *name) else {
            wrong.push(format!("{name} is not upstream's"));
            continue;
        };
        for version in group["versions"].as_array().into_iter().flatten() {
            let theirs = their_group["versions"].as_array().into_iter().flatten().find(|v| v["version"] == version["version"]);
            for resource in version["resources"].as_array().into_iter().flatten() {
                let same = |r: &&Value| r["resource"] == resource["resource"];
                let theirs = theirs.and_then(|v| v["resources"].as_array().into_iter().flatten().find(same));
                if theirs != Some(resource) {
                    wrong.push(format!("{name}: {resource} instead of {theirs:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_aggregated_form_is_given_to_those_who_ask_for_it_first() {
    let asked = |accept: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header"));
        aggregated::wanted(&headers)
    };
    let both = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    assert_eq!(asked(both), Some(Version::V2));
    assert_eq!(asked("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"), Some(Version::V2Beta1));
    assert_eq!(asked("application/json"), None);
    assert_eq!(asked("application/vnd.kubernetes.protobuf"), None);
}

#[test]
fn an_answer_that_the_client_has_is_not_sent_again() {
    let kinds = kinds::registry::builtin();
    let list = |core| aggregated::list(&grouped(&kinds), &kinds, &[], core, Version::V2);
    let first = aggregate(&HeaderMap::new(), list(false), Version::V2);
    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
    assert_eq!(aggregate(&headers, list(false), Version::V2).status(), StatusCode::NOT_MODIFIED);
    assert_eq!(aggregate(&headers, list(true), Version::V2).status(), StatusCode::OK);
}

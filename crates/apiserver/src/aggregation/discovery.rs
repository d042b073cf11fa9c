//! What a server behind this one serves, fetched from it and kept until it says something else.

use super::Document;
use super::availability::get;
use super::remote::Remote;
use crate::connect::client::Target;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use meta::value;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// No list of resources is larger.
const LIMIT: usize = 16 << 20;
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// None: it could not be asked.
pub async fn fetch(target: &Target, remote: &Remote) -> Option<Document> {
    let resources = match tokio::time::timeout(PATIENCE, aggregated(target, remote)).await.ok()? {
        Some(resources) => resources,
        None => tokio::time::timeout(PATIENCE, legacy(target, remote)).await.ok()??,
    };
    let openapi = tokio::time::timeout(PATIENCE, openapi(target, remote)).await.ok().flatten();
    Some(Document { resources, openapi, ..Document::default() })
}

async fn json(target: &Target, remote: &Remote, path: &str, accept: &str) -> Option<(String, Value)> {
    let answer = get(target, remote, path, &[(ACCEPT.as_str(), accept)]).await.ok()?;
    if answer.status() != 200 {
        return None;
    }
    let content = answer.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let bytes = Limited::new(answer.into_body(), LIMIT).collect().await.ok()?.to_bytes();
    Some((content, serde_json::from_slice(&bytes).ok()?))
}

/// From the server's whole list, if it makes one.
async fn aggregated(target: &Target, remote: &Remote) -> Option<Vec<Value>> {
    let (content, list) = json(target, remote, "/apis", AGGREGATED).await?;
    if !content.contains("apidiscovery.k8s.io") {
        return None;
    }
    let group = value::items(&list, &["items"]).iter().find(|g| value::text(g, &["metadata", "name"]) == remote.group)?;
    let version = value::items(group, &["versions"]).iter().find(|v| value::text(v, &["version"]) == remote.version)?;
    let mut resources = value::items(version, &["resources"]).to_vec();
    for resource in &mut resources {
        value::default(resource, &["responseKind"], json!({"group": "", "version": "", "kind": ""}));
        for part in value::items_mut(resource, &["subresources"]) {
            value::default(part, &["responseKind"], json!({"group": "", "version": "", "kind": ""}));
        }
    }
    Some(resources)
}

/// From the list of the one version, in the form that clients knew before.
async fn legacy(target: &Target, remote: &Remote) -> Option<Vec<Value>> {
    let (_, list) = json(target, remote, &remote.path(), "application/json").await?;
    Some(convert(value::items(&list, &["resources"])))
}

fn convert(list: &[Value]) -> Vec<Value> {
    let kind = |r: &Value| json!({"group": value::text(r, &["group"]), "version": value::text(r, &["version"]), "kind": value::text(r, &["kind"])});
    let mut out: Vec<Value> = Vec::new();
    for resource in list {
        let name = value::text(resource, &["name"]);
        let verbs = resource.get("verbs").cloned().unwrap_or_else(|| json!([]));
        let scope = if value::flag(resource, &["namespaced"]) { "Namespaced" } else { "Cluster" };
        let Some((base, part)) = name.split_once('/') else {
            let mut shown = json!({"resource": name, "responseKind": kind(resource), "scope": scope,
                "singularResource": value::text(resource, &["singularName"]), "verbs": verbs});
            for field in ["shortNames", "categories"] {
                if let Some(names) = resource.get(field) {
                    shown[field] = names.clone();
                }
            }
            out.push(shown);
            continue;
        };
        let at = out.iter().position(|r| r["resource"] == base).unwrap_or_else(|| {
            out.push(json!({"resource": base, "scope": scope}));
            out.len() - 1
        });
        let mut parts = value::items(&out[at], &["subresources"]).to_vec();
        parts.push(json!({"subresource": part, "responseKind": kind(resource), "verbs": verbs}));
        out[at]["subresources"] = parts.into();
    }
    out
}

async fn openapi(target: &Target, remote: &Remote) -> Option<String> {
    let (_, index) = json(target, remote, "/openapi/v3", "application/json").await?;
    let path = remote.path();
    let url = value::text(&index, &["paths", path.trim_start_matches('/'), "serverRelativeURL"]);
    url.starts_with("/openapi/v3/").then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subresources_are_found_below_their_resource() {
        let list = [
            json!({"name": "fischers", "singularName": "fischer", "namespaced": false, "kind": "Fischer", "verbs": ["get"]}),
            json!({"name": "fischers/status", "singularName": "", "namespaced": false, "kind": "Fischer", "verbs": ["update"]}),
        ];
        let shown = convert(&list);
        assert_eq!(shown.len(), 1);
        assert_eq!((&shown[0]["scope"], &shown[0]["subresources"][0]["subresource"]), (&json!("Cluster"), &json!("status")));
    }
}

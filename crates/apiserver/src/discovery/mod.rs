//! What is served, as clients ask for it before they ask for anything else: group by group, or all at once
//! (aggregated discovery). Made anew from the catalog for each request, so that nothing can be out of date.

mod aggregated;
mod lists;

use crate::aggregation::Elsewhere;
use crate::body::{self, Body};
use crate::handlers::{Context, Handler, Handlers};
use crate::negotiate;
use crate::query::Query;
use async_trait::async_trait;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use kinds::{Kind, Subresource};
use meta::{ApiError, GroupVersion};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::Arc;

/// Answers `/api`, `/apis` and everything below them that is no resource.
pub fn register(handlers: &mut Handlers) {
    let handler: Arc<dyn Handler> = Arc::new(Discovery);
    handlers.routes_below("/api", handler.clone());
    handlers.routes_below("/apis", handler);
}

struct Discovery;

#[async_trait]
impl Handler for Discovery {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(ApiError::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
        }
        let resources = context.server.catalog().all();
        let kinds: Vec<Arc<dyn Kind>> = resources.iter().map(|r| r.kind.clone()).collect();
        let elsewhere = context.server.inner.aggregator.elsewhere();
        let custom: HashSet<&str> = resources.iter().filter(|r| r.custom).map(|r| r.group_resource.group.as_str()).collect();
        let groups = || groups(&kinds, &elsewhere, &custom);
        let path: Vec<&str> = request.uri().path().split('/').filter(|p| !p.is_empty()).collect();
        let headers = request.headers();
        if let (["api" | "apis"], Some(version)) = (&path[..], aggregated::wanted(headers)) {
            return Ok(aggregate(headers, aggregated::list(&groups(), &kinds, &elsewhere, path[0] == "api", version), version));
        }
        let answer = match &path[..] {
            ["api"] => Some(lists::versions(&address(&request))),
            ["apis"] => Some(lists::groups(&groups())),
            ["api", version] => lists::resources(&kinds, &GroupVersion::new("", *version)),
            ["apis", group] => lists::group(&groups(), group),
            ["apis", group, version] => lists::resources(&kinds, &GroupVersion::new(*group, *version)),
            _ => None,
        };
        let answer = answer.ok_or_else(ApiError::page_not_found)?;
        let output = negotiate::output(headers, &Query::of(request.uri()), false)?;
        let mut response = output.respond(StatusCode::OK, &answer);
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
        Ok(response)
    }
}

/// How the client reached this server.
fn address(request: &Request<Body>) -> String {
    let host = request.headers().get(HOST).and_then(|v| v.to_str().ok()).map(str::to_string);
    host.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default()
}

fn aggregate(headers: &HeaderMap, list: Value, version: aggregated::Version) -> Response<Body> {
    let bytes = serde_json::to_vec(&list).unwrap_or_default();
    let tag = format!("\"{}\"", hex(&Sha256::digest(&bytes)));
    let unchanged = is_known(headers, &tag);
    let mut response = Response::new(if unchanged { body::empty() } else { body::full(bytes) });
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    out.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(ETAG, tag);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}

/// Whether the client has what this entity tag (with its quotes) stands for.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    known.flat_map(|v| v.split(',')).any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// Groups in the order in which they were registered, each with its versions.
fn grouped(kinds: &[Arc<dyn Kind>]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for kind in kinds {
        let names = kind.names();
        let at = groups.iter().position(|(group, _)| *group == names.group).unwrap_or_else(|| {
            groups.push((names.group.to_string(), Vec::new()));
            groups.len() - 1
        });
        let versions = &mut groups[at].1;
        if !versions.iter().any(|v| *v == names.version) {
            versions.push(names.version.to_string());
        }
    }
    groups
}

/// What is served here and elsewhere: other servers' groups stand where their priority puts them among custom ones.
fn groups(kinds: &[Arc<dyn Kind>], elsewhere: &[Elsewhere], custom: &HashSet<&str>) -> Vec<(String, Vec<String>)> {
    /// The priority of a definition's group.
    const CUSTOM: i64 = 1000;
    let mut groups = grouped(kinds);
    if elsewhere.is_empty() {
        return groups;
    }
    let mut new: Vec<(i64, &str)> = Vec::new();
    for one in elsewhere {
        match groups.iter_mut().find(|(name, _)| *name == one.group) {
            Some((_, versions)) => {
                if !versions.contains(&one.version) {
                    versions.push(one.version.clone());
                }
            }
            None => {
                groups.push((one.group.clone(), vec![one.version.clone()]));
                new.push((0, &one.group));
            }
        }
        if let Some(entry) = new.iter_mut().find(|(_, group)| *group == one.group) {
            entry.0 = entry.0.max(one.group_priority);
        }
    }
    let priority = |name: &str| match new.iter().find(|(_, group)| *group == name) {
        Some((priority, _)) => *priority,
        None if custom.contains(name) => CUSTOM,
        None => i64::MAX,
    };
    groups.sort_by_key(|(name, _)| std::cmp::Reverse(priority(name)));
    groups
}

fn of_version<'a>(kinds: &'a [Arc<dyn Kind>], version: &GroupVersion) -> Vec<&'a Arc<dyn Kind>> {
    let matches = |k: &&Arc<dyn Kind>| k.names().group_version() == *version;
    let mut kinds: Vec<_> = kinds.iter().filter(matches).collect();
    kinds.sort_by(|a, b| a.names().plural.cmp(&b.names().plural));
    kinds
}

/// A subresource as both forms of discovery show it.
struct Part {
    name: String,
    verbs: Vec<&'static str>,
    /// Group and version only where they are others than the resource's own.
    group: String,
    version: String,
    kind: String,
}

const CHANGES: [&str; 3] = ["get", "patch", "update"];

fn parts(kind: &dyn Kind) -> Vec<Part> {
    let names = kind.names();
    let part = |subresource: &Subresource| {
        let (shown, verbs): (Option<(&str, &str, &str)>, &[&'static str]) = match subresource {
            Subresource::Status => (None, &CHANGES),
            Subresource::Update { verbs, .. } => (None, verbs),
            Subresource::Scale(_) => (Some(("autoscaling", "v1", "Scale")), &CHANGES),
            Subresource::Create { kind, .. } => (Some(*kind), &["create"]),
            Subresource::Connect { kind, verbs, .. } => (Some(*kind), verbs),
        };
        let mut part = Part {
            name: subresource.name().into(),
            verbs: verbs.to_vec(),
            group: String::new(),
            version: String::new(),
            kind: names.kind.to_string(),
        };
        part.verbs.sort_unstable();
        if let Some((group, version, kind)) = shown {
            part.kind = kind.into();
            if (group, version) != (&*names.group, &*names.version) {
                part.group = group.into();
                part.version = version.into();
            }
        }
        part
    };
    let mut parts: Vec<Part> = kind.subresources().iter().map(part).collect();
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    parts
}

#[cfg(test)]
mod tests;

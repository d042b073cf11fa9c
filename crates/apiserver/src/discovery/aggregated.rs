//! `APIGroupDiscoveryList`: everything in one answer.

use super::{of_version, parts};
use crate::aggregation::Elsewhere;
use crate::negotiate;
use http::HeaderMap;
use kinds::Kind;
use meta::GroupVersion;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2,
    V2Beta1,
}

impl Version {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }
}

/// The version that the client asks for, unless it likes something else better.
pub fn wanted(headers: &HeaderMap) -> Option<Version> {
    for media in negotiate::accepted(headers) {
        let json = matches!(media.name.as_str(), "application/json" | "application/*" | "*/*");
        if !json {
            continue;
        }
        match (media.parameter("g"), media.parameter("as"), media.parameter("v")) {
            ("apidiscovery.k8s.io", "APIGroupDiscoveryList", "v2") => return Some(Version::V2),
            ("apidiscovery.k8s.io", "APIGroupDiscoveryList", "v2beta1") => return Some(Version::V2Beta1),
            (_, "", _) => return None,
            _ => {}
        }
    }
    None
}

pub fn list(groups: &[(String, Vec<String>)], kinds: &[Arc<dyn Kind>], elsewhere: &[Elsewhere], core: bool, version: Version) -> Value {
    let groups = groups.iter().filter(|(name, _)| name.is_empty() == core);
    let groups = groups.map(|(name, versions)| {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| match elsewhere.iter().find(|e| e.group == *name && e.version == *version) {
                Some(one) => theirs(one),
                None => of(kinds, &GroupVersion::new(&**name, &**version)),
            })
            .collect();
        let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
        json!({"metadata": metadata, "versions": versions})
    });
    let groups: Vec<Value> = groups.collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": version.api_version(), "metadata": {}, "items": groups})
}

fn of(kinds: &[Arc<dyn Kind>], version: &GroupVersion) -> Value {
    let resources: Vec<Value> = of_version(kinds, version).into_iter().map(|kind| resource(kind.as_ref())).collect();
    json!({"version": version.version, "freshness": "Current", "resources": resources})
}

fn theirs(one: &Elsewhere) -> Value {
    let freshness = if one.document.stale { "Stale" } else { "Current" };
    json!({"version": one.version, "freshness": freshness, "resources": one.document.resources})
}

fn resource(kind: &dyn Kind) -> Value {
    let names = kind.names();
    let mut verbs = kind.verbs().to_vec();
    verbs.sort_unstable();
    let mut shown = json!({
        "resource": names.plural,
        "responseKind": {"group": "", "version": "", "kind": names.kind},
        "scope": if names.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": names.singular,
        "verbs": verbs,
    });
    if !names.short_names.is_empty() {
        shown["shortNames"] = names.short_names.iter().map(|n| Value::from(&**n)).collect();
    }
    if !names.categories.is_empty() {
        shown["categories"] = names.categories.iter().map(|n| Value::from(&**n)).collect();
    }
    let parts: Vec<Value> = parts(kind)
        .into_iter()
        .map(|part| {
            json!({
                "subresource": part.name,
                "responseKind": {"group": part.group, "version": part.version, "kind": part.kind},
                "verbs": part.verbs,
            })
        })
        .collect();
    if !parts.is_empty() {
        shown["subresources"] = parts.into();
    }
    shown
}

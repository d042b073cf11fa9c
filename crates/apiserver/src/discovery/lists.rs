//! The documents of plain discovery: `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`.

use super::{of_version, parts};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kinds::Kind;
use meta::GroupVersion;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub fn versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

fn shown((name, versions): &(String, Vec<String>)) -> Value {
    let versions: Vec<Value> = versions.iter().map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v})).collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

pub fn groups(groups: &[(String, Vec<String>)]) -> Value {
    let groups: Vec<Value> = groups.iter().filter(|(name, _)| !name.is_empty()).map(shown).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

pub fn group(groups: &[(String, Vec<String>)], name: &str) -> Option<Value> {
    let group = groups.iter().find(|(n, _)| n == name && !n.is_empty())?;
    let mut shown = shown(group);
    shown["kind"] = "APIGroup".into();
    shown["apiVersion"] = "v1".into();
    Some(shown)
}

pub fn resources(kinds: &[Arc<dyn Kind>], version: &GroupVersion) -> Option<Value> {
    let kinds = of_version(kinds, version);
    if kinds.is_empty() {
        return None;
    }
    let resources: Vec<Value> = kinds.iter().flat_map(|kind| resource(kind.as_ref())).collect();
    let mut list = json!({"kind": "APIResourceList", "groupVersion": version.to_string(), "resources": resources});
    // Upstream leaves this out of the core group's list, as its first clients knew it.
    if !version.group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

/// The resource itself, and what is below it.
fn resource(kind: &dyn Kind) -> Vec<Value> {
    let names = kind.names();
    let mut verbs = kind.verbs().to_vec();
    verbs.sort_unstable();
    let mut main = json!({
        "name": names.plural, "singularName": names.singular, "namespaced": names.namespaced(), "kind": names.kind, "verbs": verbs,
    });
    if !names.short_names.is_empty() {
        main["shortNames"] = names.short_names.iter().map(|n| Value::from(&**n)).collect();
    }
    if !names.categories.is_empty() {
        main["categories"] = names.categories.iter().map(|n| Value::from(&**n)).collect();
    }
    if kind.stored() {
        main["storageVersionHash"] = storage_version_hash(kind).into();
    }
    let part = |part: super::Part| {
        let mut shown = json!({
            "name": format!("{}/{}", names.plural, part.name), "singularName": "", "namespaced": names.namespaced(),
            "kind": part.kind, "verbs": part.verbs,
        });
        if !part.version.is_empty() {
            shown["group"] = part.group.into();
            shown["version"] = part.version.into();
        }
        shown
    };
    std::iter::once(main).chain(parts(kind).into_iter().map(part)).collect()
}

fn storage_version_hash(kind: &dyn Kind) -> String {
    let names = kind.names();
    let (group, version) = match kind.stored_as() {
        Some(stored) => (stored.group, stored.version),
        None => (&*names.group, &*names.version),
    };
    let digest = Sha256::digest(format!("{group}/{version}/{}", names.kind));
    STANDARD.encode(&digest[..8])
}

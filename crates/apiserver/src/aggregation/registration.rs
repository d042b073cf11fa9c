//! What this server serves itself is registered too: built-in versions once at the start, those of definitions for as
//! long as the definition is there.

use super::GROUP;
use crate::server::ApiServer;
use meta::{ApiError, GroupResource, value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const AGAIN: Duration = Duration::from_secs(2);

/// A group's priority, and that of its version.
fn priority(group: &str, version: &str) -> (i64, i64) {
    let group_priority = match group {
        "" => return (18_000, 1),
        "apps" => 17_800,
        "events.k8s.io" => 17_750,
        "authentication.k8s.io" => 17_700,
        "authorization.k8s.io" => 17_600,
        "autoscaling" => return (17_500, if version == "v2" { 30 } else { 15 }),
        "batch" => 17_400,
        "certificates.k8s.io" => 17_300,
        "networking.k8s.io" => 17_200,
        "policy" => 17_100,
        "rbac.authorization.k8s.io" => 17_000,
        "storage.k8s.io" => 16_800,
        "apiextensions.k8s.io" | "admissionregistration.k8s.io" => 16_700,
        "scheduling.k8s.io" => 16_600,
        "coordination.k8s.io" => 16_500,
        "node.k8s.io" => 16_300,
        "resource.k8s.io" => return (16_200, 21),
        "flowcontrol.apiserver.k8s.io" => return (16_100, 21),
        "discovery.k8s.io" => 16_200,
        "internal.apiserver.k8s.io" => return (16_000, 9),
        _ => return (15_000, 9),
    };
    (group_priority, if version.contains("alpha") || version.contains("beta") { 9 } else { 15 })
}

pub async fn run(server: ApiServer) {
    let mut generation = server.catalog().generation();
    generation.mark_changed();
    let mut first = true;
    loop {
        if generation.changed().await.is_err() {
            return;
        }
        while let Err(error) = register(&server, first).await {
            tracing::debug!(%error, "registering what is served");
            tokio::time::sleep(AGAIN).await;
        }
        first = false;
    }
}

/// By name: the wanted spec, and whether it is looked after for ever.
fn wanted(server: &ApiServer) -> BTreeMap<String, (Value, bool)> {
    let mut out = BTreeMap::new();
    for resource in server.catalog().all() {
        let names = resource.kind.names();
        if names.group == GROUP {
            continue;
        }
        let (group_priority, version_priority) = if resource.custom { (1000, 100) } else { priority(&names.group, &names.version) };
        let spec = json!({"group": names.group, "version": names.version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority});
        out.entry(format!("{}.{}", names.version, names.group)).or_insert((spec, resource.custom));
    }
    out
}

/// A definition has the version, be it served already or not.
fn defined(server: &ApiServer, name: &str) -> bool {
    let Some((version, group)) = name.split_once('.') else { return false };
    let definitions = server.objects().list(&GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions"), None);
    definitions.iter().map(|d| d.value()).any(|d| {
        let has = |v: &Value| value::text(v, &["name"]) == version && value::flag(v, &["served"]);
        value::text(&d, &["spec", "group"]) == group && value::items(&d, &["spec", "versions"]).iter().any(has)
    })
}

async fn register(server: &ApiServer, first: bool) -> Result<(), ApiError> {
    let resource = GroupResource::new(GROUP, "apiservices");
    let wanted = wanted(server);
    for (name, (spec, custom)) in &wanted {
        let managed = if *custom { "true" } else { "onstart" };
        match server.objects().get(&resource, "", name) {
            None if *custom || first => {
                let object = json!({"metadata": {"name": name, "labels": {MANAGED: managed}}, "spec": spec});
                match server.create_object(&resource, object).await {
                    Err(error) if error.reason != "AlreadyExists" => return Err(error),
                    _ => {}
                }
            }
            Some(there) => {
                let label = there.label(MANAGED);
                let ours = label == Some("true") || (first && label == Some("onstart"));
                if ours && there.value()["spec"] != *spec {
                    let change = |object: &mut Value| {
                        value::set(object, &["spec"], spec.clone());
                        Ok(())
                    };
                    server.update_object(&resource, "", name, change).await?;
                }
            }
            None => {}
        }
    }
    for there in server.objects().list(&resource, None) {
        let gone = match there.label(MANAGED) {
            // Not yet served is not gone.
            Some("true") => !defined(server, there.name()),
            Some("onstart") => first,
            _ => false,
        };
        if gone && !wanted.contains_key(there.name()) {
            match server.delete_object(&resource, "", there.name(), Some(there.uid()), None).await {
                Err(error) if error.code != 404 && error.code != 409 => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

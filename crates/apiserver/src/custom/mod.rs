//! Custom resources: watches their definitions, settles names, serves what is established, and deletes the objects of
//! a definition that goes. Works on the server as a client of it, so that a definition is written as any object is.

mod conversion;
mod defaulting;
mod kind;
mod names;
pub(crate) mod path;
mod shape;

pub use kind::CustomKind;

use crate::body;
use crate::catalog::Custom;
use crate::server::ApiServer;
use crate::user::User;
use crate::webhook::Webhooks;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use meta::{GroupResource, value};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const GROUP: &str = "apiextensions.k8s.io";
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How soon to look again where something is left to do.
const AGAIN: Duration = Duration::from_millis(500);

/// Runs until `stop`.
pub async fn run(server: ApiServer, stop: CancellationToken) {
    let resource = GroupResource::new(GROUP, "customresourcedefinitions");
    let mut changes = server.objects().changes(&resource);
    let mut state = Definitions { server, resource, built: HashMap::new(), served: Vec::new() };
    let mut again = true;
    loop {
        let wait = if again { AGAIN } else { Duration::from_secs(600) };
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => if change.is_none() { return },
            () = tokio::time::sleep(wait) => {}
        }
        while changes.try_recv().is_ok() {}
        again = state.settle().await;
    }
}

struct Definitions {
    server: ApiServer,
    resource: GroupResource,
    /// By uid: what the kinds were built from, and they.
    built: HashMap<String, (Value, Vec<Custom>)>,
    /// The uids and generations in the catalog, to see whether it has to change.
    served: Vec<Value>,
}

impl Definitions {
    /// One look at all definitions. Says whether to look again soon.
    async fn settle(&mut self) -> bool {
        let mut all: Vec<Value> = self.server.objects().list(&self.resource, None).iter().map(|o| o.value()).collect();
        // Whoever has names already keeps them; then the older wins.
        let order = |d: &Value| (!names::is_true(d, "Established"), value::text(d, &["metadata", "creationTimestamp"]).to_string());
        all.sort_by_key(order);
        let before = all.clone();
        let now = meta::time::now();
        let mut again = false;
        for i in 0..all.len() {
            let mut definition = std::mem::take(&mut all[i]);
            if is_deleted(&definition) {
                names::condition(
                    &mut definition,
                    "Terminating",
                    "True",
                    "InstanceDeletionInProgress",
                    "CustomResource deletion is in progress",
                    &now,
                );
            } else {
                let group = &definition["spec"]["group"];
                let others: Vec<Value> = all.iter().filter(|d| d["spec"]["group"] == *group).cloned().collect();
                names::settle(&mut definition, &others.iter().collect::<Vec<_>>(), &now);
            }
            all[i] = definition;
        }
        // What is established is served before anybody is told so.
        for definition in all.iter().filter(|d| !is_deleted(d) && !has_finalizer(d)) {
            again |= !self.finalizers(definition, true).await;
        }
        again |= !self.serve(&all).await;
        for (definition, before) in all.iter().zip(&before) {
            if definition["status"] != before["status"] {
                again |= !self.write_status(definition).await;
            }
        }
        for definition in all.iter().filter(|d| is_deleted(d) && has_finalizer(d)) {
            again |= !self.clear(definition).await;
        }
        again
    }

    async fn serve(&mut self, all: &[Value]) -> bool {
        let mut kinds = Vec::new();
        let mut served = Vec::new();
        let mut built = HashMap::new();
        for definition in all.iter().filter(|d| names::is_true(d, "Established")) {
            let uid = value::text(definition, &["metadata", "uid"]).to_string();
            let from = json!([definition["spec"], definition["status"]["acceptedNames"], is_deleted(definition)]);
            let entry = match self.built.remove(&uid) {
                Some(entry) if entry.0 == from => entry,
                _ => (from, build(definition, &self.server.inner.webhooks)),
            };
            kinds.extend(entry.1.iter().cloned());
            served.push(json!([uid, entry.0]));
            built.insert(uid, entry);
        }
        self.built = built;
        if served == self.served {
            return true;
        }
        match self.server.catalog().set_custom(kinds).await {
            Ok(()) => {
                self.served = served;
                true
            }
            Err(error) => {
                tracing::error!(%error, "custom resources cannot be served");
                false
            }
        }
    }

    /// Deletes all objects of the kind, and lets the definition go once there are none.
    async fn clear(&self, definition: &Value) -> bool {
        let text = |path: &[&str]| value::text(definition, path).to_string();
        let (group, plural) = (text(&["spec", "group"]), text(&["status", "acceptedNames", "plural"]));
        let left = if names::is_true(definition, "Established") {
            self.server.objects().list(&GroupResource::new(&*group, &*plural), None)
        } else {
            Vec::new()
        };
        if left.is_empty() {
            return self.finalizers(definition, false).await;
        }
        let served = served_versions(definition);
        let Some(version) = served.first().map(|v| value::text(v, &["name"])) else { return false };
        for object in left {
            if value::at(&object.value(), &["metadata", "deletionTimestamp"]).is_some() {
                continue;
            }
            let space = if object.namespace().is_empty() { String::new() } else { format!("namespaces/{}/", object.namespace()) };
            self.send(Method::DELETE, &format!("/apis/{group}/{version}/{space}{plural}/{}", object.name()), None, "").await;
        }
        false
    }

    async fn write_status(&self, definition: &Value) -> bool {
        let name = value::text(definition, &["metadata", "name"]);
        self.send(Method::PUT, &format!("{PATH}/{name}/status"), Some(definition), "application/json").await
    }

    async fn finalizers(&self, definition: &Value, add: bool) -> bool {
        let mut finalizers = value::items(definition, &["metadata", "finalizers"]).to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if add {
            finalizers.push(FINALIZER.into());
        }
        let metadata = |key: &str| definition["metadata"][key].clone();
        let mut patch = json!({"metadata": {"uid": metadata("uid"), "finalizers": finalizers}});
        // Somebody else may have written since; their finalizers must not be lost.
        if !add || !value::items(definition, &["metadata", "finalizers"]).is_empty() {
            patch["metadata"]["resourceVersion"] = metadata("resourceVersion");
        }
        let name = value::text(definition, &["metadata", "name"]);
        self.send(Method::PATCH, &format!("{PATH}/{name}"), Some(&patch), "application/merge-patch+json").await
    }

    /// Whether it worked, or there is nothing there to work on.
    async fn send(&self, method: Method, path: &str, content: Option<&Value>, content_type: &str) -> bool {
        let bytes = content.map(Value::to_string).unwrap_or_default();
        let mut builder = Request::builder().method(method.clone()).uri(format!("{path}?fieldManager=apiextensions"));
        if content.is_some() {
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        let Ok(mut request) = builder.body(body::full(bytes)) else { return false };
        request.extensions_mut().insert(Arc::new(User::system("system:apiserver")));
        let response = self.server.handle(request).await;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return true;
        }
        // The next change brings this up again with the newer object.
        if status != StatusCode::CONFLICT {
            let answer =
                response.into_body().collect().await.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
            tracing::warn!(%method, path, %status, answer, "a custom resource definition could not be written");
        }
        false
    }
}

fn is_deleted(definition: &Value) -> bool {
    value::at(definition, &["metadata", "deletionTimestamp"]).is_some()
}

fn has_finalizer(definition: &Value) -> bool {
    value::items(definition, &["metadata", "finalizers"]).iter().any(|f| f == FINALIZER)
}

/// The versions to serve, the preferred one first. A definition that goes needs one to delete its objects through.
fn served_versions(definition: &Value) -> Vec<&Value> {
    let all = value::items(definition, &["spec", "versions"]);
    let mut served: Vec<&Value> = all.iter().filter(|v| value::flag(v, &["served"])).collect();
    if served.is_empty() && is_deleted(definition) {
        served.extend(all.iter().find(|v| value::flag(v, &["storage"])));
    }
    served.sort_by(|a, b| by_stability(value::text(a, &["name"]), value::text(b, &["name"])));
    served
}

fn build(definition: &Value, webhooks: &Arc<Webhooks>) -> Vec<Custom> {
    let conversion = conversion::Versions::of(definition, webhooks);
    let storage = value::items(definition, &["spec", "versions"]).iter().find(|v| value::flag(v, &["storage"]));
    let storage = storage.map_or("", |v| value::text(v, &["name"]));
    let names = &definition["status"]["acceptedNames"];
    let kind = |version: &Value| Custom {
        kind: Arc::new(CustomKind::new(definition, names, version, storage, is_deleted(definition))),
        conversion: conversion.clone(),
    };
    served_versions(definition).into_iter().map(kind).collect()
}

/// `v2`, `v1`, `v1beta1`, `v1alpha1`, then the rest by name.
fn by_stability(a: &str, b: &str) -> Ordering {
    fn parse(name: &str) -> Option<(u8, u32, u32)> {
        let rest = name.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..end].parse().ok()?;
        let (rank, minor) = match &rest[end..] {
            "" => (2, 0),
            stage => match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
                (Some(minor), _) => (1, minor.parse().ok()?),
                (_, Some(minor)) => (0, minor.parse().ok()?),
                _ => return None,
            },
        };
        Some((rank, major, minor))
    }
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests;

//! Nodes ask for tokens of their own pods, and for audiences that those pods name.

use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::handlers::Context;
use crate::objects::Objects;
use meta::{GroupResource, value};
use serde_json::Value;

/// What is wrong with a node's request; the pod is the one that it is bound to.
pub fn refuses(context: &Context, node: &str, request: &Value, pod: Option<&Value>) -> Option<String> {
    let reference = value::at(request, &["spec", "boundObjectRef"]).unwrap_or(&Value::Null);
    let text = |field: &str| value::text(reference, &[field]);
    if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
        return Some("node requested token not bound to a pod".into());
    }
    if text("uid").is_empty() {
        return Some("node requested token with a pod binding without a uid".into());
    }
    let pod = pod?;
    if value::text(pod, &["metadata", "uid"]) != text("uid") {
        // Said in its own words by whoever binds.
        return None;
    }
    if value::text(pod, &["spec", "nodeName"]) != node {
        return Some("node requested token bound to a pod scheduled on a different node".into());
    }
    let audience = match value::items(request, &["spec", "audiences"]) {
        [] => "",
        [only] => only.as_str().unwrap_or_default(),
        _ => return Some("node may only request 0 or 1 audiences".into()),
    };
    if names(&*context.server.objects(), pod, audience) || may(context, audience) {
        return None;
    }
    let user = &context.attributes.user.name;
    Some(format!("audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"))
}

fn may(context: &Context, audience: &str) -> bool {
    let asked = Attributes {
        user: context.attributes.user.clone(),
        verb: "request-serviceaccounts-token-audience".into(),
        version: "v1".into(),
        resource: audience.into(),
        namespace: context.attributes.namespace.clone(),
        name: context.attributes.name.clone(),
        is_resource: true,
        named: true,
        ..Attributes::default()
    };
    context.server.authorizer().authorize(&asked) == Decision::Allow
}

/// A projected token, or the driver of one of the pod's volumes, has that audience.
fn names(objects: &dyn Objects, pod: &Value, audience: &str) -> bool {
    let namespace = value::text(pod, &["metadata", "namespace"]);
    value::items(pod, &["spec", "volumes"]).iter().any(|volume| {
        let projected = value::items(volume, &["projected", "sources"]).iter().filter_map(|s| s.get("serviceAccountToken"));
        let mut projected = projected.map(|t| value::text(t, &["audience"]));
        if projected.any(|a| a == audience) {
            return true;
        }
        let claim = match volume.get("ephemeral") {
            Some(_) => format!("{}-{}", value::text(pod, &["metadata", "name"]), value::text(volume, &["name"])),
            None => value::text(volume, &["persistentVolumeClaim", "claimName"]).to_string(),
        };
        let driver = match value::text(volume, &["csi", "driver"]) {
            "" => of_claim(objects, namespace, &claim).unwrap_or_default(),
            driver => driver.to_string(),
        };
        !driver.is_empty() && asks(objects, &driver, audience)
    })
}

fn of_claim(objects: &dyn Objects, namespace: &str, claim: &str) -> Option<String> {
    let claim = objects.get(&GroupResource::new("", "persistentvolumeclaims"), namespace, claim)?.value();
    let volume = objects.get(&GroupResource::new("", "persistentvolumes"), "", value::text(&claim, &["spec", "volumeName"]))?.value();
    Some(value::text(&volume, &["spec", "csi", "driver"]).to_string())
}

fn asks(objects: &dyn Objects, driver: &str, audience: &str) -> bool {
    let Some(driver) = objects.get(&GroupResource::new("storage.k8s.io", "csidrivers"), "", driver) else { return false };
    value::items(&driver.value(), &["spec", "tokenRequests"]).iter().any(|r| value::text(r, &["audience"]) == audience)
}

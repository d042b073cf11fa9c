//! Gives pods a service account and its token.

use super::{Acts, Plugin, Request};
use async_trait::async_trait;
use meta::{ApiError, value};
use rand::RngExt;
use serde_json::{Value, json};

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const LIFETIME: u32 = 3607;

pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.creates("", "pods") {
            return Ok(());
        }
        // Mirror pods show what runs already.
        if value::at(pod, &["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
            if !value::text(pod, &["spec", "serviceAccountName"]).is_empty() {
                return Err(request.forbidden("a mirror pod may not reference service accounts"));
            }
            return Ok(());
        }
        if value::text(pod, &["spec", "serviceAccountName"]).is_empty() {
            let old = value::text(pod, &["spec", "serviceAccount"]).to_string();
            value::set(pod, &["spec", "serviceAccountName"], if old.is_empty() { "default".to_string() } else { old });
        }
        let name = value::text(pod, &["spec", "serviceAccountName"]).to_string();
        value::set(pod, &["spec", "serviceAccount"], name.clone());
        let namespace = &request.attributes.namespace;
        let Some(account) = request.object("", "serviceaccounts", namespace, &name) else {
            return Err(
                request.forbidden(format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"))
            );
        };
        let says = account.mentions("automountServiceAccountToken") || account.mentions("imagePullSecrets");
        let account = if says { account.value() } else { Value::Null };
        let wanted = value::at(pod, &["spec", "automountServiceAccountToken"]).or_else(|| account.get("automountServiceAccountToken"));
        if wanted.and_then(Value::as_bool).unwrap_or(true) {
            mount(pod);
        }
        if value::items(pod, &["spec", "imagePullSecrets"]).is_empty()
            && let Some(secrets) = account.get("imagePullSecrets")
        {
            value::set(pod, &["spec", "imagePullSecrets"], secrets.clone());
        }
        Ok(())
    }
}

fn mount(pod: &mut Value) {
    let own = value::items(pod, &["spec", "volumes"]).iter().map(|v| value::text(v, &["name"])).find(|n| n.starts_with("kube-api-access-"));
    let present = own.map(str::to_string);
    let volume = present.clone().unwrap_or_else(|| {
        let mut random = rand::rng();
        let suffix: String = (0..5).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
        format!("kube-api-access-{suffix}")
    });
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in value::items_mut(pod, &["spec", list]) {
            if value::items(container, &["volumeMounts"]).iter().any(|m| value::text(m, &["mountPath"]) == MOUNT) {
                continue;
            }
            used = true;
            push(container, "volumeMounts", json!({"name": volume, "readOnly": true, "mountPath": MOUNT}));
        }
    }
    if !used || present.is_some() {
        return;
    }
    let field = json!({"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": LIFETIME, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [field]}},
    ]);
    if let Some(spec) = pod.get_mut("spec") {
        push(spec, "volumes", json!({"name": volume, "projected": {"defaultMode": 420, "sources": sources}}));
    }
}

/// Adds to a list that may not be there yet.
pub fn push(to: &mut Value, list: &str, item: Value) {
    if !to.get(list).is_some_and(Value::is_array) {
        value::set(to, &[list], json!([]));
    }
    if let Some(list) = to.get_mut(list).and_then(Value::as_array_mut) {
        list.push(item);
    }
}

//! Plugins about storage and ingress classes.

use super::service_account::push;
use super::{Acts, Operation, Plugin, Request};
use async_trait::async_trait;
use meta::quantity::Quantity;
use meta::{ApiError, value};
use serde_json::{Value, json};

/// The class marked with `annotation`; the newest of several.
fn default_class(all: Vec<Value>, annotation: &str) -> Option<String> {
    let marked = all.into_iter().filter(|c| value::text(c, &["metadata", "annotations", annotation]) == "true");
    let newest = marked.max_by(|a, b| {
        let time = |c: &Value| value::text(c, &["metadata", "creationTimestamp"]).to_string();
        let name = |c: &Value| value::text(c, &["metadata", "name"]).to_string();
        time(a).cmp(&time(b)).then_with(|| name(b).cmp(&name(a)))
    });
    newest.map(|c| value::text(&c, &["metadata", "name"]).to_string())
}

pub struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, claim: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let beta = ["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"];
        // An empty name is a choice too: no class at all.
        if !request.creates("", "persistentvolumeclaims")
            || value::at(claim, &["spec", "storageClassName"]).is_some()
            || value::at(claim, &beta).is_some()
        {
            return Ok(());
        }
        let all = request.values("storage.k8s.io", "storageclasses", None);
        if let Some(class) = default_class(all, "storageclass.kubernetes.io/is-default-class") {
            value::set(claim, &["spec", "storageClassName"], class);
        }
        Ok(())
    }
}

pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, ingress: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let old = ["metadata", "annotations", "kubernetes.io/ingress.class"];
        if !request.creates("networking.k8s.io", "ingresses")
            || value::at(ingress, &["spec", "ingressClassName"]).is_some()
            || value::at(ingress, &old).is_some()
        {
            return Ok(());
        }
        let all = request.values("networking.k8s.io", "ingressclasses", None);
        if let Some(class) = default_class(all, "ingressclass.kubernetes.io/is-default-class") {
            value::set(ingress, &["spec", "ingressClassName"], class);
        }
        Ok(())
    }
}

/// Claims and volumes stay while they are used.
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let finalizer = if request.creates("", "persistentvolumeclaims") {
            "kubernetes.io/pvc-protection"
        } else if request.creates("", "persistentvolumes") {
            "kubernetes.io/pv-protection"
        } else {
            return Ok(());
        };
        if !value::items(object, &["metadata", "finalizers"]).iter().any(|f| f == finalizer)
            && let Some(metadata) = object.get_mut("metadata")
        {
            push(metadata, "finalizers", json!(finalizer));
        }
        Ok(())
    }
}

pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, claim: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let Some(old) = old.filter(|_| request.operation == Operation::Update && request.is("", "persistentvolumeclaims")) else {
            return Ok(());
        };
        let size = |c: &Value| {
            value::at(c, &["spec", "resources", "requests", "storage"]).and_then(|s| Quantity::from_value(s).ok()).unwrap_or(Quantity::ZERO)
        };
        let (new_size, old_size) = (size(claim), size(old));
        if new_size <= old_size {
            return Ok(());
        }
        if value::text(old, &["status", "phase"]) != "Bound" {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let class = value::text(old, &["spec", "storageClassName"]);
        let allowed = request
            .object("storage.k8s.io", "storageclasses", "", class)
            .is_some_and(|c| value::flag(&c.value(), &["allowVolumeExpansion"]));
        if !allowed {
            return Err(request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            ));
        }
        Ok(())
    }
}

//! Nothing is made in a namespace that is not there or that goes away.

use super::{Acts, Operation, Plugin, Request};
use async_trait::async_trait;
use meta::error::{Cause, Details};
use meta::{ApiError, GroupResource, value};
use serde_json::Value;

const KEPT: [&str; 3] = ["default", "kube-system", "kube-public"];

pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, _: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let namespace = request.attributes.namespace.as_str();
        if request.of("", "namespaces") {
            if request.operation == Operation::Delete && KEPT.contains(&request.name) {
                return Err(request.forbidden("this namespace may not be deleted"));
            }
            return Ok(());
        }
        // A local review asks about a namespace; it puts nothing there.
        if namespace.is_empty() || request.operation != Operation::Create || request.of("authorization.k8s.io", "localsubjectaccessreviews")
        {
            return Ok(());
        }
        let Some(found) = request.object("", "namespaces", "", namespace) else {
            return Err(ApiError::not_found(&GroupResource::new("", "namespaces"), namespace));
        };
        if !found.mentions("Terminating") && !found.mentions("deletionTimestamp") {
            return Ok(());
        }
        let found = found.value();
        if value::text(&found, &["status", "phase"]) == "Terminating" || value::at(&found, &["metadata", "deletionTimestamp"]).is_some() {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut error = request.forbidden(&why);
            let details = error.details.get_or_insert_with(|| Box::new(Details::default()));
            details.causes.push(Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".into(),
            });
            return Err(error);
        }
        Ok(())
    }
}

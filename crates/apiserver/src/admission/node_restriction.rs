//! A node writes about itself only.

use super::{Operation, Plugin, Request};
use crate::auth::node::identity;
use async_trait::async_trait;
use meta::{ApiError, value};
use serde_json::Value;

pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let Some(node) = identity(&request.attributes.user) else { return Ok(()) };
        let gr = &request.resource.group_resource;
        let name = value::text(object, &["metadata", "name"]);
        let own = |named: &str| {
            if named == node {
                Ok(())
            } else {
                Err(request.forbidden(format!("node {node:?} is not allowed to modify {} {named:?}", gr.resource)))
            }
        };
        match (gr.group.as_str(), gr.resource.as_str()) {
            ("", "nodes") => {
                if let (Operation::Update, Some(old)) = (request.operation, old)
                    && value::at(old, &["spec", "taints"]) != value::at(object, &["spec", "taints"])
                {
                    return Err(request.forbidden(format!("node {node:?} is not allowed to modify taints")));
                }
                own(name)
            }
            ("storage.k8s.io", "csinodes") | ("coordination.k8s.io", "leases") => own(name),
            ("resource.k8s.io", "resourceslices") => own(value::text(object, &["spec", "nodeName"])),
            ("", "pods") if request.attributes.subresource == "eviction" => {
                let pod = request.object("", "pods", request.namespace, request.name).map(|p| p.value()).unwrap_or_default();
                if value::text(&pod, &["spec", "nodeName"]) == node {
                    return Ok(());
                }
                Err(request.forbidden(format!("node {node:?} can only evict pods with spec.nodeName set to itself")))
            }
            ("", "pods") if request.is_whole() => {
                let on = value::text(old.unwrap_or(object), &["spec", "nodeName"]);
                if on != node {
                    return Err(request.forbidden(format!("node {node:?} can only write pods with spec.nodeName set to itself")));
                }
                let mirror = value::at(object, &["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some();
                if request.operation == Operation::Create && !mirror && request.attributes.subresource.is_empty() {
                    return Err(request.forbidden(format!(
                        "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
                    )));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

//! `componentstatuses`: how the store, the scheduler and the controllers are, looked at when somebody asks.

use crate::body::Body;
use crate::handlers::{Context, Handler};
use crate::negotiate::{self, Shape};
use crate::query::Query;
use crate::verbs::view;
use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use meta::{ApiError, GroupResource, fields, labels, value};
use serde_json::{Value, json};

/// In the order of a list. A part with a lease is well while somebody renews it; without one it is a part of this
/// process, and as well as the answer itself.
const PARTS: [&str; 3] = ["scheduler", "controller-manager", "etcd-0"];

pub struct ComponentStatuses;

#[async_trait]
impl Handler for ComponentStatuses {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let resource = context.resource.as_ref().ok_or_else(ApiError::page_not_found)?;
        let query = Query::of(request.uri());
        let output = negotiate::output(request.headers(), &query, true)?;
        let verb = context.attributes.verb.as_str();
        if !resource.supports(verb) || !context.attributes.subresource.is_empty() {
            return Err(ApiError::method_not_supported(&resource.group_resource, verb));
        }
        if verb == "get" {
            let name = context.attributes.name.as_str();
            let known = PARTS.iter().find(|part| **part == name);
            let part = known.ok_or_else(|| ApiError::not_found(&GroupResource::new("", "componentstatus"), name))?;
            let object = status(context, part).await;
            return Ok(output.respond(StatusCode::OK, &view::shaped(resource, output.shape, &object)));
        }
        let labels = labels::Selector::parse(query.text("labelSelector"))
            .map_err(|e| ApiError::bad_request(format!("unable to parse requirement: {e}")))?;
        let fields = fields::Selector::parse(query.text("fieldSelector")).map_err(|e| ApiError::bad_request(e.0))?;
        let mut items = Vec::new();
        for part in PARTS {
            let by_name = fields.requirements.iter().all(|r| {
                let found = if r.path == "metadata.name" { part } else { "" };
                (found == r.value) == (r.operator == fields::Operator::Equals)
            });
            if by_name && labels.matches(|_| None) {
                items.push(status(context, part).await);
            }
        }
        let shown = match output.shape {
            Shape::Object => json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items}),
            Shape::Partial => {
                let items: Vec<Value> = items.iter().map(view::partial).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items})
            }
            Shape::Table(include) => view::table(resource, include, &items, &json!({}), true),
        };
        Ok(output.respond(StatusCode::OK, &shown))
    }
}

async fn status(context: &Context, part: &str) -> Value {
    let trouble = match part {
        "etcd-0" => context.server.store().revision().await.err().map(|e| e.to_string()),
        _ => stale(context, &format!("kube-{part}")),
    };
    let condition = match trouble {
        None => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Some(error) => json!({"type": "Healthy", "status": "False", "message": "", "error": error}),
    };
    json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": part}, "conditions": [condition]})
}

/// Why the holder of a lease is thought to be gone.
fn stale(context: &Context, lease: &str) -> Option<String> {
    let found = context.server.objects().get(&GroupResource::new("coordination.k8s.io", "leases"), "kube-system", lease)?;
    let lease = found.value();
    let renewed = meta::time::parse(value::text(&lease, &["spec", "renewTime"])).ok()?;
    let seconds = value::int(&lease, &["spec", "leaseDurationSeconds"]).unwrap_or(0);
    let age = Timestamp::now().as_second() - renewed.as_second();
    (age > seconds.max(1) * 2).then(|| format!("its lease was last renewed {} ago", meta::time::human_duration(age)))
}

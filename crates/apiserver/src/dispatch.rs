//! Who answers an admitted request: a handler registered for it, or the generic verbs.

use crate::attributes::Attributes;
use crate::body::{self, Body};
use crate::catalog::Resource;
use crate::handlers::Context;
use crate::query::Query;
use crate::verbs::{self, Call};
use crate::{aggregation, negotiate, routes};
use http::{Request, Response};
use kinds::Subresource;
use meta::{ApiError, GroupResource};
use std::sync::Arc;

/// Subresources whose answers last as long as their client wants.
const STREAMS: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];

/// Such requests have no time limit.
pub fn is_long(attributes: &Attributes, resource: Option<&Resource>) -> bool {
    attributes.verb == "watch" || ((resource.is_some() || attributes.is_resource) && STREAMS.contains(&attributes.subresource.as_str()))
}

pub async fn dispatch(context: &Context, query: &Query, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let attributes = &context.attributes;
    let handlers = &context.server.inner.handlers;
    if let Some(remote) = context.server.inner.aggregator.remote(attributes) {
        return aggregation::proxy::pass(context, &remote, request).await;
    }
    let Some(resource) = &context.resource else {
        if let Some(handler) = handlers.find_route(&attributes.path) {
            return handler.handle(context, request).await;
        }
        return routes::built_in(context, query).await;
    };
    context.warnings.add(resource.kind.deprecated());
    segment("Name", &attributes.name)?;
    segment("Namespace", &attributes.namespace)?;
    // `/namespaces/x` is in its own namespace, as authorization sees it.
    let in_namespace = !attributes.namespace.is_empty() && !is_namespaces(resource);
    let misplaced = if resource.namespaced() {
        !in_namespace && (attributes.named || attributes.verb == "create") && handlers.find(&resource.group_resource, "").is_none()
    } else {
        in_namespace
    };
    if misplaced {
        return Err(ApiError::page_not_found());
    }
    if let Some(handler) = handlers.find(&resource.group_resource, &attributes.subresource) {
        let request = crate::admission::handled::admit(context, query, request).await?;
        return handler.handle(context, request).await;
    }
    let (parts, body) = request.into_parts();
    let stop = parts.extensions.get::<crate::listener::Closing>().cloned();
    let call = Call {
        context,
        server: &context.server,
        resource,
        query,
        headers: &parts.headers,
        output: negotiate::output(&parts.headers, query, true)?,
        namespace: if resource.namespaced() { &attributes.namespace } else { "" },
        name: &attributes.name,
    };
    if attributes.subresource.is_empty() {
        return main(&call, body, stop).await;
    }
    let Some(subresource) = resource.subresource(&attributes.subresource) else {
        return Err(ApiError::page_not_found());
    };
    part(&call, subresource, body).await
}

async fn main(call: &Call<'_>, body: Body, stop: Option<crate::listener::Closing>) -> Result<Response<Body>, ApiError> {
    let verb = call.context.attributes.verb.as_str();
    if !call.resource.kind.stored() {
        return Err(ApiError::not_implemented(&call.resource.group_resource));
    }
    if !call.resource.supports(verb) || (verb == "create" && call.context.attributes.named) {
        return Err(ApiError::method_not_supported(&call.resource.group_resource, verb));
    }
    match verb {
        "get" => verbs::get::object(call).await,
        "list" => Box::pin(verbs::list::list(call)).await,
        "watch" => Box::pin(verbs::watch::watch(call, stop)).await,
        "create" => Box::pin(verbs::create::create(call, body::read(body).await?)).await,
        "update" => Box::pin(verbs::update::object(call, body::read(body).await?)).await,
        "patch" => Box::pin(verbs::patch::object(call, body::read(body).await?)).await,
        "delete" => Box::pin(verbs::delete::object(call, body::read(body).await?)).await,
        "deletecollection" => Box::pin(verbs::delete_collection::objects(call, body::read(body).await?)).await,
        other => Err(ApiError::method_not_supported(&call.resource.group_resource, other)),
    }
}

async fn part(call: &Call<'_>, subresource: &Subresource, body: Body) -> Result<Response<Body>, ApiError> {
    let verb = call.context.attributes.verb.as_str();
    let unsupported = || {
        let resource = GroupResource::new(&*call.resource.group_resource.group, call.context.attributes.full_resource());
        Err(ApiError::method_not_supported(&resource, verb))
    };
    match (subresource, verb) {
        (Subresource::Status | Subresource::Update { .. }, "get") => verbs::get::object(call).await,
        (Subresource::Status | Subresource::Update { .. }, "update") => {
            Box::pin(verbs::update::part(call, subresource, body::read(body).await?)).await
        }
        (Subresource::Status | Subresource::Update { .. }, "patch") => {
            Box::pin(verbs::patch::part(call, subresource, body::read(body).await?)).await
        }
        (Subresource::Scale(paths), "get") => verbs::scale::get(call, paths).await,
        (Subresource::Scale(paths), "update") => Box::pin(verbs::scale::update(call, paths, body::read(body).await?)).await,
        (Subresource::Scale(paths), "patch") => Box::pin(verbs::scale::patch(call, paths, body::read(body).await?)).await,
        (Subresource::Create { kind, mutate, .. }, "create") => {
            Box::pin(verbs::create::part(call, *kind, *mutate, body::read(body).await?)).await
        }
        (Subresource::Connect { .. }, _) => {
            Err(ApiError::not_implemented(format!("{}/{}", call.resource.group_resource, subresource.name())))
        }
        _ => unsupported(),
    }
}

/// Names become part of the store's keys, and of paths.
fn segment(what: &str, name: &str) -> Result<(), ApiError> {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ => match name.chars().find(|c| matches!(c, '/' | '%')) {
            Some(bad) => format!("may not contain '{bad}'"),
            None => return Ok(()),
        },
    };
    Err(ApiError::bad_request(format!("{what} parameter invalid: {name:?}: {why}")))
}

fn is_namespaces(resource: &Arc<Resource>) -> bool {
    resource.group_resource.group.is_empty() && resource.group_resource.resource == "namespaces"
}

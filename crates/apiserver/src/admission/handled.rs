//! Admission of what no generic verb answers: sessions and proxies (a connect), and questions and subresources that
//! handlers answer (a create whose object is never stored).

use super::{Operation, Request};
use crate::body::{self, Body};
use crate::handlers::Context;
use crate::negotiate;
use crate::query::Query;
use crate::registry::Options;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request as HttpRequest};
use kinds::Subresource;
use meta::{ApiError, GroupVersion, GroupVersionKind, value};
use serde_json::{Value, json};

/// Asks, and gives back the request as its handler is to see it.
pub async fn admit(context: &Context, query: &Query, request: HttpRequest<Body>) -> Result<HttpRequest<Body>, ApiError> {
    let Some(resource) = &context.resource else { return Ok(request) };
    let attributes = &context.attributes;
    let sub = attributes.subresource.as_str();
    match resource.subresource(sub) {
        Some(Subresource::Connect { name: "exec" | "attach" | "portforward" | "proxy", kind, .. }) => {
            let kind = GroupVersionKind::new(kind.0, if kind.1.is_empty() { "v1" } else { kind.1 }, kind.2);
            connect(context, query, kind).await?;
            Ok(request)
        }
        Some(Subresource::Connect { kind, .. }) if attributes.verb == "create" => {
            create(context, query, GroupVersionKind::new(kind.0, kind.1, kind.2), request).await
        }
        None if sub.is_empty() && attributes.verb == "create" => {
            let names = resource.kind.names();
            create(context, query, GroupVersionKind::new(&*names.group, &*names.version, &*names.kind), request).await
        }
        _ => Ok(request),
    }
}

fn asked<'a>(context: &'a Context, operation: Operation, kind: GroupVersionKind) -> Option<Request<'a>> {
    let resource = context.resource.as_ref()?;
    let mut request = Request::new(&context.server, operation, &context.attributes, resource, &context.warnings);
    request.kind = kind;
    Some(request)
}

async fn connect(context: &Context, query: &Query, kind: GroupVersionKind) -> Result<(), ApiError> {
    if query.all("dryRun").any(|d| !d.is_empty()) {
        return Err(ApiError::bad_request("dryRun is not supported"));
    }
    let mut object = options(context, query, &kind);
    let Some(request) = asked(context, Operation::Connect, kind) else { return Ok(()) };
    let admission = &context.server.inner.admission;
    admission.mutate(&request, &mut object, None).await?;
    admission.validate(&request, &object, None).await
}

/// The options of a connection, which are the object that admission sees.
fn options(context: &Context, query: &Query, kind: &GroupVersionKind) -> Value {
    let mut options = json!({"kind": kind.kind, "apiVersion": kind.group_version().to_string()});
    match context.attributes.subresource.as_str() {
        "proxy" => options["path"] = format!("/{}", context.attributes.rest).into(),
        "portforward" => {
            let ports: Vec<i64> = query.all("ports").flat_map(|p| p.split(',')).filter_map(|p| p.trim().parse().ok()).collect();
            if !ports.is_empty() {
                options["ports"] = json!(ports);
            }
        }
        _ => {
            for name in ["stdin", "stdout", "stderr", "tty"] {
                if query.flag(name) {
                    options[name] = true.into();
                }
            }
            let container = query.text("container");
            if !container.is_empty() {
                options["container"] = container.into();
            }
            let command: Vec<&str> = query.all("command").collect();
            if !command.is_empty() {
                options["command"] = json!(command);
            }
        }
    }
    options
}

async fn create(
    context: &Context,
    query: &Query,
    kind: GroupVersionKind,
    request: HttpRequest<Body>,
) -> Result<HttpRequest<Body>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let bytes = body::read(body).await?;
    let decoded = negotiate::decode(parts.headers.get(CONTENT_TYPE), &bytes).ok().filter(|(tree, _)| tree.is_object());
    let Some((mut object, _)) = decoded else {
        // The handler says what is wrong with it.
        return Ok(HttpRequest::from_parts(parts, body::full(bytes)));
    };
    value::default(&mut object, &["apiVersion"], GroupVersion::new(&*kind.group, &*kind.version).to_string());
    value::default(&mut object, &["kind"], kind.kind.as_str());
    let options = Options::parse(query, &parts.headers, "CreateOptions")?;
    let Some(mut asked) = asked(context, Operation::Create, kind) else {
        return Ok(HttpRequest::from_parts(parts, body::full(bytes)));
    };
    asked.dry_run = options.dry_run;
    asked.options = Some(&options);
    let before = object.clone();
    let admission = &context.server.inner.admission;
    admission.mutate(&asked, &mut object, None).await?;
    admission.validate(&asked, &object, None).await?;
    if object == before {
        return Ok(HttpRequest::from_parts(parts, body::full(bytes)));
    }
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(CONTENT_LENGTH);
    Ok(HttpRequest::from_parts(parts, body::full(object.to_string())))
}

//! What every request goes through, in this order:
//!
//! 1. what it asks for, read from its path, since everything after speaks of that;
//! 2. an audit id, so that even a refusal can be found again;
//! 3. who asks (a caller in this process has said so already), and in whose name;
//! 4. whether they may, before anything can be learnt from the answer;
//! 5. the answer itself, within its time.
//!
//! Errors become `Status` objects and panics become errors at the one place that all answers leave by.

use crate::attributes::Attributes;
use crate::authenticator::PeerCertificates;
use crate::authorizer::Decision;
use crate::body::{self, Body};
use crate::handlers::{Context, Warnings};
use crate::negotiate::{self, Output};
use crate::query::Query;
use crate::server::ApiServer;
use crate::user::User;
use crate::{dispatch, impersonate, request};
use futures::FutureExt;
use http::header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use meta::{ApiError, GroupResource};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const WARNING: HeaderName = HeaderName::from_static("warning");
const TIMEOUT: Duration = Duration::from_secs(60);
/// What one header may carry of warnings altogether.
const WARNINGS_BYTES: usize = 4 << 10;

pub async fn run(server: &ApiServer, request: Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let query = Query::of(request.uri());
    let attributes = request::attributes(request.method(), request.uri(), &query);
    let audit_id = audit_id(&request);
    let warnings = Warnings::default();
    let output = negotiate::output(request.headers(), &query, true).unwrap_or_default();
    let method = request.method().clone();
    let running = server.inner.metrics.begin(&attributes);
    let answered = AssertUnwindSafe(answer(server, request, query, attributes.clone(), &audit_id, &warnings)).catch_unwind().await;
    let result = answered.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        tracing::error!(audit_id = %audit_id, path = %attributes.path, panic = text.unwrap_or("unknown"), "a request made the server panic");
        Err(ApiError::internal("the server made an error while it handled the request"))
    });
    let mut response = result.unwrap_or_else(|error| {
        // An error is told as a plain object, whatever was asked for.
        let mut response = negotiate::error_response(&Output { shape: negotiate::Shape::Object, gzip: false, ..output }, &error);
        if error.code == 401 {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kubernetes-master\""));
        }
        response
    });
    if method == Method::HEAD {
        *response.body_mut() = body::empty();
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&audit_id) {
        headers.insert(AUDIT_ID, id);
    }
    let mut room = WARNINGS_BYTES;
    for text in warnings.take() {
        if let Some(value) = warning(&text).filter(|v| v.len() <= room) {
            room -= value.len();
            headers.append(WARNING, value);
        }
    }
    running.end(&attributes, response.status(), began.elapsed());
    response
}

/// The client's own, so that one id follows a request through several servers.
fn audit_id(request: &Request<Body>) -> Arc<str> {
    let given = request.headers().get(AUDIT_ID).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty() && v.len() <= 64);
    given.map_or_else(|| uuid::Uuid::new_v4().to_string().into(), Into::into)
}

/// `299 - "text"`, as RFC 7234 has it.
fn warning(text: &str) -> Option<HeaderValue> {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()).ok()
}

async fn answer(
    server: &ApiServer,
    request: Request<Body>,
    query: Query,
    mut attributes: Attributes,
    audit_id: &Arc<str>,
    warnings: &Warnings,
) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    attributes.user = authenticate(server, &parts, &attributes).await?;
    attributes.user = impersonate::effective(server, &attributes, &parts.headers)?;
    authorize(server, &attributes)?;
    let resource = server.catalog().lookup(&attributes.group, &attributes.version, &attributes.resource).filter(|_| attributes.is_resource);
    let long = dispatch::is_long(&attributes, resource.as_deref());
    let context = Context {
        server: server.clone(),
        attributes: Arc::new(attributes),
        resource,
        audit_id: audit_id.clone(),
        warnings: warnings.clone(),
    };
    let limit = timeout(&query)?;
    let work = dispatch::dispatch(&context, &query, Request::from_parts(parts, body));
    if long {
        return work.await;
    }
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::timeout("request did not complete within the allotted timeout")),
    }
}

/// What the client asks for, at most what the server gives.
fn timeout(query: &Query) -> Result<Duration, ApiError> {
    match query.text("timeout") {
        "" => Ok(TIMEOUT),
        text => {
            let invalid = || ApiError::bad_request(format!("invalid timeout specified in the request URL: {text:?}"));
            let wanted = duration(text).ok_or_else(invalid)?;
            Ok(if wanted.is_zero() { TIMEOUT } else { wanted.min(TIMEOUT) })
        }
    }
}

/// A Go duration of one or more parts (`1m30s`), or plain seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let tail = &rest[end..];
        let length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let unit = match &tail[..length] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number * unit;
        rest = &tail[length..];
    }
    Duration::try_from_secs_f64(total).ok()
}

async fn authenticate(server: &ApiServer, parts: &http::request::Parts, attributes: &Attributes) -> Result<Arc<User>, ApiError> {
    if let Some(user) = parts.extensions.get::<Arc<User>>() {
        return Ok(user.clone());
    }
    let certificates = parts.extensions.get::<PeerCertificates>();
    match server.inner.authenticator.authenticate(parts, certificates).await? {
        Some(user) => Ok(Arc::new(user)),
        // Nobody is let in without a name but to see whether the server lives, and which it is. What looks like
        // credentials and was not recognised is wrong rather than absent.
        None if public(&attributes.path) && !parts.headers.contains_key(AUTHORIZATION) => Ok(Arc::new(User::anonymous())),
        None => Err(ApiError::unauthorized("Unauthorized")),
    }
}

fn public(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "healthz" | "livez" | "readyz" | "version")
}

fn authorize(server: &ApiServer, attributes: &Attributes) -> Result<(), ApiError> {
    match server.inner.authorizer.authorize(attributes) {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(refusal(attributes, &reason)),
    }
}

/// The 403 of a caller who may not.
pub fn refusal(attributes: &Attributes, reason: &str) -> ApiError {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let user = quoted(&attributes.user.name);
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let verb = &attributes.verb;
    if !attributes.is_resource {
        let path = quoted(&attributes.path);
        let mut error = ApiError::new(403, "Forbidden", format!("forbidden: User {user} cannot {verb} path {path}{reason}"));
        error.details = Some(Box::default());
        return error;
    }
    let place = match attributes.namespace.as_str() {
        "" => "at the cluster scope".to_string(),
        namespace => format!("in the namespace {}", quoted(namespace)),
    };
    let (resource, group) = (quoted(&attributes.full_resource()), quoted(&attributes.group));
    let why = format!("User {user} cannot {verb} resource {resource} in API group {group} {place}{reason}");
    ApiError::forbidden(&GroupResource::new(&*attributes.group, &*attributes.resource), &attributes.name, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("32"), Some(Duration::from_secs(32)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert!(duration("soon").is_none() && duration("-1s").is_none());
    }

    #[test]
    fn a_refusal_says_who_may_not_do_what() {
        let mut a = Attributes {
            user: Arc::new(User::new("jane", &[])),
            verb: "get".into(),
            resource: "pods".into(),
            is_resource: true,
            ..Attributes::default()
        };
        a.namespace = "x".into();
        a.name = "p".into();
        let error = refusal(&a, "");
        assert_eq!(error.message, r#"pods "p" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "x""#);
    }
}

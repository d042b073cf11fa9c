//! What every request goes through, in this order:
//!
//! 1. what it asks for, read from its path, since everything after speaks of that;
//! 2. an audit id, so that even a refusal can be found again;
//! 3. who asks (a caller in this process has said so already), and in whose name;
//! 4. whether they may, before anything can be learnt from the answer;
//! 5. a seat, or a place in a queue for one;
//! 6. the answer itself, within its time.
//!
//! Errors become `Status` objects and panics become errors at the one place that all answers leave by. What
//! is counted, audited and logged of a request is gathered in its `Exchange`, which ends with the answer.

use crate::attributes::Attributes;
use crate::audit;
use crate::authenticator::PeerCertificates;
use crate::authorizer::Decision;
use crate::body::{self, Body};
use crate::exchange::Exchange;
use crate::features::Feature;
use crate::handlers::Context;
use crate::listener::Stranger;
use crate::negotiate::{self, Output};
use crate::query::Query;
use crate::server::ApiServer;
use crate::trace::Step;
use crate::user::User;
use crate::{dispatch, impersonate, request, routes};
use futures::FutureExt;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use meta::{ApiError, GroupResource};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const WARNING: HeaderName = HeaderName::from_static("warning");
/// What one header may carry of warnings altogether.
const WARNINGS_BYTES: usize = 4 << 10;
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

pub async fn run(server: &ApiServer, mut request: Request<Body>) -> Response<Body> {
    let query = Query::of(request.uri());
    let attributes = request::attributes(request.method(), request.uri(), &query);
    let audit_id = audit_id(&request);
    let features = &server.inner.operations.features;
    if !features.on(Feature::ApiResponseCompression) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    let output = negotiate::output(request.headers(), &query, true).unwrap_or_default();
    let method = request.method().clone();
    let mut exchange = Exchange::begin(server, &method, request.headers(), attributes, &query, audit_id.clone());
    let work = AssertUnwindSafe(answer(&mut exchange, request, query)).catch_unwind();
    let answered = if features.on(Feature::ApiServerTracing) { work.instrument(span(&method, &audit_id)).await } else { work.await };
    let result = match answered {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            let path = &exchange.attributes.path;
            tracing::error!(%audit_id, path, panic = text.unwrap_or("unknown"), "a request made the server panic");
            exchange.panicked();
            Err(Failure::from(ApiError::internal("the server made an error while it handled the request")))
        }
    };
    let mut response = result.unwrap_or_else(|failure| {
        exchange.failed(&failure.error);
        // An error is told as a plain object, whatever was asked for.
        let mut response = negotiate::error_response(&Output { shape: negotiate::Shape::Object, gzip: false, ..output }, &failure.error);
        if failure.error.code == 401 {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kubernetes-master\""));
        }
        response.headers_mut().extend(failure.headers);
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
    for text in exchange.notes.take() {
        if let Some(value) = warning(&text).filter(|v| v.len() <= room) {
            room -= value.len();
            headers.append(WARNING, value);
        }
    }
    exchange.end_with(response).await
}

fn span(method: &Method, audit_id: &str) -> tracing::Span {
    tracing::info_span!("request", %method, audit_id, verb = tracing::field::Empty, resource = tracing::field::Empty)
}

/// An error, and headers that go with it.
struct Failure {
    error: ApiError,
    headers: http::HeaderMap,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { error, headers: http::HeaderMap::new() }
    }
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

async fn answer(exchange: &mut Exchange, request: Request<Body>, query: Query) -> Result<Response<Body>, Failure> {
    let server = exchange.server.clone();
    let (mut parts, mut body) = request.into_parts();
    parts.extensions.insert(exchange.notes.clone());
    let found = authenticate(&server, &parts, &exchange.attributes).await;
    let took = exchange.steps.mark(Step::Authenticated);
    let sender = match found {
        Ok(user) => {
            server.inner.metrics.access.authenticated(&user.name, took);
            user
        }
        Err(error) => {
            server.inner.metrics.access.unknown(parts.headers.contains_key(AUTHORIZATION), took);
            exchange.audit(&parts, &User::default());
            close_stranger(&server, &parts);
            return Err(error.into());
        }
    };
    exchange.audit(&parts, &sender);
    exchange.set_user(sender.clone());
    let user = impersonate::effective(&server, &exchange.attributes, &parts.headers)?;
    if !Arc::ptr_eq(&user, &sender) {
        exchange.acts_as(&user);
    }
    exchange.set_user(user);
    let decision = server.inner.authorizer.authorize(&exchange.attributes);
    let took = exchange.steps.mark(Step::Authorized);
    server.inner.metrics.access.authorized(decision == Decision::Allow, took);
    decide(exchange, decision)?;
    let span = tracing::Span::current();
    span.record("verb", exchange.attributes.verb.as_str()).record("resource", exchange.attributes.resource.as_str());

    let attributes = exchange.attributes.clone();
    let resource = exchange.resource.clone();
    let long = dispatch::is_long(&attributes, resource.as_deref());
    exchange.known_path = resource.is_none() && (routes::is_known(&attributes.path) || server.inner.handlers.find_exact(&attributes.path));
    if long {
        exchange.lasts();
    }
    let limit = timeout(&query, server.inner.operations.request_timeout)?;
    let admitted = server.inner.flow.admit(&attributes, resource.as_deref(), &query, long, limit / 4).await;
    exchange.steps.mark(Step::Admitted);
    let grant = admitted.map_err(|refused| {
        exchange.refused();
        let mut failure = Failure::from(refused.error.clone());
        refused.announce(&mut failure.headers);
        failure
    })?;
    let context =
        Context { server: server.clone(), attributes, resource, audit_id: exchange.audit_id.clone(), warnings: exchange.notes.clone() };
    let work = async {
        if exchange.wants_body(audit::Level::Request) && !long {
            let bytes = body::read(body).await?;
            exchange.request_body(parts.headers.get(CONTENT_TYPE).cloned(), bytes.clone());
            body = body::full(bytes);
        }
        if exchange.wants_body(audit::Level::RequestResponse) {
            parts.headers.remove(ACCEPT_ENCODING);
        }
        dispatch::dispatch(&context, &query, Request::from_parts(parts, body)).await
    };
    let result = if long {
        work.await
    } else {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => {
                exchange.timed_out();
                Err(ApiError::timeout("Timeout: request did not complete within the allotted timeout"))
            }
        }
    };
    let mut headers = http::HeaderMap::new();
    grant.announce(&mut headers);
    match result {
        Ok(mut response) => {
            response.headers_mut().extend(headers);
            Ok(response)
        }
        Err(error) => Err(Failure { error, headers }),
    }
}

/// A connection that is used without valid credentials is not kept: it could ask for a lot at no cost.
fn close_stranger(server: &ApiServer, parts: &http::request::Parts) {
    if server.inner.operations.features.on(Feature::UnauthenticatedHttp2DosMitigation)
        && parts.version == http::Version::HTTP_2
        && let Some(stranger) = parts.extensions.get::<Stranger>()
    {
        stranger.0.cancel();
    }
}

fn decide(exchange: &Exchange, decision: Decision) -> Result<(), ApiError> {
    match decision {
        Decision::Allow => {
            exchange.note(DECISION, "allow");
            exchange.note(REASON, "");
            Ok(())
        }
        Decision::Deny(reason) | Decision::NoOpinion(reason) => {
            exchange.note(DECISION, "forbid");
            exchange.note(REASON, &reason);
            Err(refusal(&exchange.attributes, &reason))
        }
    }
}

/// What the client asks for, at most what the server gives.
fn timeout(query: &Query, most: Duration) -> Result<Duration, ApiError> {
    match query.text("timeout") {
        "" => Ok(most),
        text => {
            let invalid = || ApiError::bad_request(format!("invalid timeout specified in the request URL: {text:?}"));
            let wanted = duration(text).ok_or_else(invalid)?;
            Ok(if wanted.is_zero() { most } else { wanted.min(most) })
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

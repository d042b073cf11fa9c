//! `pods/log`: the kubelet reads, this passes on.

use super::websocket::Reader;
use super::{client, locate};
use crate::body::{self, Body};
use crate::handlers::{Context, Handler};
use crate::query::Query;
use async_trait::async_trait;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use meta::field::{FieldErrors, FieldPath};
use meta::{ApiError, GroupKind, GroupResource, value};
use std::sync::Arc;

/// What is read of a kubelet's refusal.
const REFUSAL: usize = 10 << 10;
const PASSED: [&str; 8] = ["follow", "previous", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "stream"];

pub struct Log {
    pub tls: Arc<rustls::ClientConfig>,
}

#[async_trait]
impl Handler for Log {
    async fn handle(&self, context: &Context, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
        client::strip_token(request.headers_mut());
        let near = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let reader = Reader::of(request.headers(), near)?;
        let answer = |body| match reader {
            Some(reader) => reader.answer(body),
            None => Ok(plain(body)),
        };
        let attributes = &context.attributes;
        if attributes.verb != "get" {
            return Err(ApiError::method_not_supported(&GroupResource::new("", "pods/log"), &attributes.verb));
        }
        let query = Query::of(request.uri());
        validate(&query)?;
        let objects = context.server.objects();
        let (namespace, name) = (attributes.namespace.as_str(), attributes.name.as_str());
        let pod = locate::object(&*objects, "pods", namespace, name)?;
        let container = locate::container(&pod, query.text("container"))?;
        let node = value::text(&pod, &["spec", "nodeName"]);
        if node.is_empty() {
            // Nothing can have been written yet.
            return answer(body::empty());
        }
        let target = locate::kubelet(&*objects, node, &self.tls)?;
        let pairs = PASSED.iter().filter_map(|n| Some((*n, query.get(n).filter(|v| !v.is_empty())?)));
        let path = format!("/containerLogs/{namespace}/{name}/{container}?{}", super::sessions::encode(pairs));
        let outgoing = Request::get(path).header(header::HOST, target.authority()).body(body::empty()).map_err(ApiError::internal)?;
        let response = client::send(&target, outgoing).await;
        let response = response.map_err(|e| {
            ApiError::internal(format!("Get \"https://{}/containerLogs/{namespace}/{name}/{container}\": {e}", target.authority()))
        })?;
        if response.status().is_success() {
            return answer(body::wrap(response.into_body()));
        }
        let code = response.status();
        let text = Limited::new(response.into_body(), REFUSAL).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).trim_end().to_string();
        if query.flag("insecureSkipTLSVerifyBackend") && code == StatusCode::UNAUTHORIZED {
            return Err(ApiError::unauthorized(text));
        }
        Err(match code {
            StatusCode::BAD_REQUEST => ApiError::bad_request(text),
            StatusCode::NOT_FOUND => {
                let message = format!("the server could not find the requested resource ( pods/log {name})");
                let mut error = ApiError::new(404, "NotFound", if text.is_empty() { message } else { text });
                error.details = Some(Box::new(meta::error::Details { name: name.into(), kind: "pods/log".into(), ..Default::default() }));
                error
            }
            _ => ApiError::internal(text),
        })
    }
}

fn plain(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn validate(query: &Query) -> Result<(), ApiError> {
    let mut errors = FieldErrors::new();
    let mut number = |name: &str, least: i64| -> Result<bool, ApiError> {
        let Some(text) = query.get(name).filter(|v| !v.is_empty()) else { return Ok(false) };
        let number: i64 = text.parse().map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?;
        if number < least {
            errors.invalid(&FieldPath::new(name), number, &format!("must be greater than or equal to {least}"));
        }
        Ok(true)
    };
    number("tailLines", 0)?;
    number("limitBytes", 1)?;
    let seconds = number("sinceSeconds", 1)?;
    if seconds && !query.text("sinceTime").is_empty() {
        errors.forbidden(&FieldPath::root(), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(&GroupKind::new("", "PodLogOptions"), "", &errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_options_are_refused() {
        assert!(validate(&Query::parse("tailLines=0&follow=true")).is_ok());
        assert_eq!(validate(&Query::parse("tailLines=-1")).unwrap_err().code, 422);
        assert_eq!(validate(&Query::parse("limitBytes=x")).unwrap_err().code, 400);
        assert_eq!(validate(&Query::parse("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z")).unwrap_err().code, 422);
    }
}

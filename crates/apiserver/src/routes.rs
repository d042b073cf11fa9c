//! Paths that are no resources and that nobody else has taken: health, version, metrics, the index.

use crate::body::{self, Body, BoxError};
use crate::features::Feature;
use crate::handlers::Context;
use crate::query::Query;
use crate::server::ApiServer;
use crate::{flow, health, metrics, version, zpages};
use futures::StreamExt;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use meta::ApiError;
use serde_json::json;
use std::time::Duration;

const CHECK: Duration = Duration::from_secs(2);
const PLAIN: &str = "text/plain; charset=utf-8";
const OWN: [&str; 5] = ["/metrics", "/metrics/slis", "/version", "/statusz", "/flagz"];

/// Every path that is answered.
pub fn index(server: &ApiServer) -> Vec<String> {
    let mut paths = server.inner.handlers.paths();
    paths.extend(OWN.map(str::to_string));
    paths.extend(health::paths());
    paths.sort();
    paths.dedup();
    paths
}

/// Whether a path may be a label of metrics: there are only so many.
pub fn is_known(path: &str) -> bool {
    OWN.contains(&path) || health::parse(path).is_some_and(|(_, single)| single.is_none())
}

pub async fn built_in(context: &Context, query: &Query) -> Result<Response<Body>, ApiError> {
    let (attributes, server) = (&context.attributes, &context.server);
    let path = attributes.path.trim_end_matches('/');
    if !matches!(attributes.verb.as_str(), "get" | "head") {
        return Err(ApiError::page_not_found());
    }
    if let Some((endpoint, single)) = health::parse(path) {
        return health::answer(server, query, endpoint, single).await.ok_or_else(ApiError::page_not_found);
    }
    if flow::is_dump(path) {
        let dump =
            flow::dump(&server.inner.flow, path, !query.text("includeRequestDetails").is_empty()).ok_or_else(ApiError::page_not_found)?;
        return Ok(text(dump, PLAIN));
    }
    let features = &server.inner.operations.features;
    match path {
        "" => Ok(text(json!({"paths": index(server)}).to_string(), "application/json")),
        "/version" => Ok(text(version::object().to_string(), "application/json")),
        // Whoever may get this has every Secret; no role but the administrator's names it.
        "/socle/snapshot" if attributes.verb == "get" => snapshot(server).await,
        "/metrics" => {
            let status = tokio::time::timeout(CHECK, server.store().status()).await.ok().and_then(Result::ok);
            server.inner.metrics.storage.refresh(server.catalog(), status.as_ref());
            Ok(text(server.inner.metrics.text(), metrics::CONTENT_TYPE))
        }
        "/metrics/slis" => Ok(text(server.inner.metrics.slis(), metrics::CONTENT_TYPE)),
        "/statusz" if features.on(Feature::ComponentStatusz) => Ok(text(zpages::statusz(server), PLAIN)),
        "/flagz" if features.on(Feature::ComponentFlagz) => Ok(text(zpages::flagz(server), PLAIN)),
        _ if path == "/debug/pprof" || path.starts_with("/debug/pprof/") => {
            Err(ApiError::not_implemented("profiling in the form of Go's pprof"))
        }
        _ => Err(ApiError::page_not_found()),
    }
}

/// The store's state as a file, while others write.
async fn snapshot(server: &ApiServer) -> Result<Response<Body>, ApiError> {
    let chunks = server.store().snapshot().await.map_err(crate::registry::store_error)?;
    let frames = chunks.map(|chunk| chunk.map(Frame::data).map_err(|e| -> BoxError { e.into() }));
    let mut response = Response::new(body::wrap(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

fn text(text: impl Into<bytes::Bytes>, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

//! Paths that are no resources and that nobody else has taken: health, version, metrics, the index.

use crate::body::{self, Body};
use crate::handlers::Context;
use crate::query::Query;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use meta::ApiError;
use serde_json::json;
use std::time::Duration;

/// The version whose behaviour is served.
pub const GIT_VERSION: &str = concat!("v1.36.2+socle-", env!("CARGO_PKG_VERSION"));
const CHECK: Duration = Duration::from_secs(2);

pub async fn built_in(context: &Context, query: &Query) -> Result<Response<Body>, ApiError> {
    let attributes = &context.attributes;
    let path = attributes.path.trim_end_matches('/');
    if !matches!(attributes.verb.as_str(), "get" | "head") {
        return Err(ApiError::page_not_found());
    }
    match path {
        "" => {
            let mut paths = context.server.inner.handlers.paths();
            paths.extend(["/healthz", "/livez", "/readyz", "/metrics", "/version"].map(str::to_string));
            paths.sort();
            paths.dedup();
            Ok(json_answer(&json!({"paths": paths})))
        }
        "/version" => Ok(json_answer(&json!({
            "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
            "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "", "compiler": "rustc", "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
        }))),
        "/healthz" | "/livez" | "/readyz" => Ok(health(context, query, &path[1..]).await),
        "/metrics" => {
            let server = &context.server;
            let mut objects: Vec<(String, usize)> =
                server.catalog().all().iter().filter_map(|r| Some((r.group_resource.to_string(), r.cache.as_ref()?.count()))).collect();
            objects.sort();
            objects.dedup_by(|a, b| a.0 == b.0);
            let status = tokio::time::timeout(CHECK, server.store().status()).await.ok().and_then(Result::ok);
            Ok(text(StatusCode::OK, server.inner.metrics.text(&objects, status.as_ref()), "text/plain; version=0.0.4; charset=utf-8"))
        }
        _ => Err(ApiError::page_not_found()),
    }
}

/// Each check and how it went; 500 with the list where one failed.
async fn health(context: &Context, query: &Query, name: &str) -> Response<Body> {
    let server = &context.server;
    let excluded: Vec<&str> = query.all("exclude").collect();
    let store = match tokio::time::timeout(CHECK, server.store().revision()).await {
        Ok(Ok(revision)) => Ok(revision),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".into()),
    };
    let cache = match &store {
        Ok(revision) => server.inner.core.feed.reached(*revision, CHECK).await.then_some(()).ok_or_else(|| "behind the store".to_string()),
        Err(_) => Ok(()),
    };
    let mut checks: Vec<(&str, Result<(), String>)> = vec![("ping", Ok(())), ("etcd", store.map(drop)), ("informer-sync", cache)];
    if name == "readyz" && server.inner.stop.is_cancelled() {
        checks.push(("shutdown", Err("process is shutting down".into())));
    }
    checks.retain(|(check, _)| !excluded.contains(check));
    let failed = checks.iter().any(|(_, outcome)| outcome.is_err());
    if !failed && query.get("verbose").is_none() {
        return text(StatusCode::OK, "ok".into(), "text/plain; charset=utf-8");
    }
    let mut lines: Vec<String> = checks
        .iter()
        .map(|(check, outcome)| match outcome {
            Ok(()) => format!("[+]{check} ok"),
            Err(why) => format!("[-]{check} failed: {why}"),
        })
        .collect();
    lines.push(format!("{name} check {}", if failed { "failed" } else { "passed" }));
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    text(code, lines.join("\n") + "\n", "text/plain; charset=utf-8")
}

fn json_answer(value: &serde_json::Value) -> Response<Body> {
    text(StatusCode::OK, value.to_string(), "application/json")
}

fn text(code: StatusCode, text: String, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

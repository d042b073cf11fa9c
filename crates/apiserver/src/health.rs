//! `/livez`, `/readyz` and `/healthz`: checks by name, all together or one at a time, in upstream's text form.

use crate::body::{self, Body};
use crate::query::Query;
use crate::server::ApiServer;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// That an answer comes at all.
    Ping,
    /// That the log can be written.
    Log,
    Etcd,
    /// That reads see what has been written.
    InformerSync,
    /// Something that happens once, at the start.
    Hook,
    Shutdown,
}

const LIVE: [(&str, Check); 8] = [
    ("ping", Check::Ping),
    ("log", Check::Log),
    ("etcd", Check::Etcd),
    ("poststarthook/bootstrap-controller", Check::Hook),
    ("poststarthook/priority-and-fairness-config-consumer", Check::Hook),
    ("poststarthook/priority-and-fairness-config-producer", Check::Hook),
    ("poststarthook/rbac/bootstrap-roles", Check::Hook),
    ("poststarthook/scheduling/bootstrap-system-priority-classes", Check::Hook),
];
const READY: [(&str, Check); 3] = [("etcd-readiness", Check::Etcd), ("informer-sync", Check::InformerSync), ("shutdown", Check::Shutdown)];

/// `livez`, `readyz` or `healthz` with the checks that belong to it.
fn checks(endpoint: &str) -> Vec<(&'static str, Check)> {
    let mut all = LIVE.to_vec();
    if endpoint == "readyz" {
        all.extend(READY);
    }
    all
}

/// The endpoint and the single check that a path names; none: it is about no health.
pub fn parse(path: &str) -> Option<(&'static str, Option<&str>)> {
    let (first, rest) = path.trim_start_matches('/').split_once('/').map_or((path.trim_start_matches('/'), ""), |(f, r)| (f, r));
    let endpoint = ["livez", "readyz", "healthz"].into_iter().find(|e| *e == first)?;
    Some((endpoint, Some(rest.trim_end_matches('/')).filter(|r| !r.is_empty())))
}

/// Every path that `parse` takes, for the index.
pub fn paths() -> Vec<String> {
    let of = |endpoint: &'static str| {
        let single = checks(endpoint).into_iter().map(move |(check, _)| format!("/{endpoint}/{check}"));
        std::iter::once(format!("/{endpoint}")).chain(single)
    };
    ["livez", "readyz", "healthz"].into_iter().flat_map(of).collect()
}

async fn run(server: &ApiServer, check: Check) -> Result<(), String> {
    let revision = async {
        match tokio::time::timeout(PATIENCE, server.store().revision()).await {
            Ok(Ok(revision)) => Ok(revision),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_string()),
        }
    };
    match check {
        Check::Ping | Check::Log => Ok(()),
        Check::Etcd => revision.await.map(drop),
        Check::InformerSync => {
            let reached = server.inner.core.feed.reached(revision.await?, PATIENCE).await;
            reached.then_some(()).ok_or_else(|| "the caches are behind the store".to_string())
        }
        Check::Hook if server.has_started() => Ok(()),
        Check::Hook => Err("not finished".to_string()),
        Check::Shutdown if server.inner.stop.is_cancelled() => Err("process is shutting down".to_string()),
        Check::Shutdown => Ok(()),
    }
}

/// None: there is no check of that name.
pub async fn answer(server: &ApiServer, query: &Query, endpoint: &'static str, single: Option<&str>) -> Option<Response<Body>> {
    let all = checks(endpoint);
    if let Some(single) = single {
        let (name, check) = all.into_iter().find(|(name, _)| *name == single)?;
        let outcome = run(server, check).await;
        server.inner.metrics.checked(endpoint, name, outcome.is_ok());
        return Some(match outcome {
            Ok(()) => text(StatusCode::OK, "ok".into()),
            Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
        });
    }
    let mut excluded: Vec<&str> = query.all("exclude").filter(|e| !e.is_empty()).collect();
    let (mut lines, mut failed) = (String::new(), Vec::new());
    for (name, check) in all {
        if excluded.contains(&name) {
            excluded.retain(|e| *e != name);
            lines += &format!("[+]{name} excluded: ok\n");
            continue;
        }
        let outcome = run(server, check).await;
        server.inner.metrics.checked(endpoint, name, outcome.is_ok());
        match outcome {
            Ok(()) => lines += &format!("[+]{name} ok\n"),
            Err(why) => {
                // Callers need no name to ask; what is wrong is for the log.
                lines += &format!("[-]{name} failed: reason withheld\n");
                failed.push(format!("{name}: {why}"));
            }
        }
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|e| format!("{e:?}")).collect();
        lines += &format!("warn: some health checks cannot be excluded: no matches for {}\n", names.join(","));
    }
    if !failed.is_empty() {
        tracing::debug!(endpoint, failed = failed.join(", "), "health checks failed");
        return Some(text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{endpoint} check failed\n")));
    }
    let verbose = query.get("verbose").is_some();
    Some(text(StatusCode::OK, if verbose { format!("{lines}{endpoint} check passed\n") } else { "ok".into() }))
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_an_endpoint_and_perhaps_a_check() {
        assert_eq!(parse("/livez"), Some(("livez", None)));
        assert_eq!(parse("/readyz/poststarthook/rbac/bootstrap-roles"), Some(("readyz", Some("poststarthook/rbac/bootstrap-roles"))));
        assert_eq!(parse("/livezz"), None);
        assert!(paths().contains(&"/readyz/shutdown".into()) && !paths().contains(&"/livez/shutdown".into()));
    }
}

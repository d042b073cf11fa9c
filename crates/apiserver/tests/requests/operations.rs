use crate::support::*;
use apiserver::{Operations, features::Features};
use http_body_util::BodyExt;
use serde_json::Value;

async fn told(s: &Server, path: &str) -> (u16, String) {
    let answer = s.send("GET", path, &[], String::new()).await;
    let code = answer.status().as_u16();
    (code, String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_check_by_check() {
    let (s, _dir) = server().await;
    assert_eq!(told(&s, "/livez").await, (200, "ok".into()));
    let (code, text) = told(&s, "/readyz?verbose").await;
    assert_eq!(code, 200);
    for line in
        ["[+]ping ok\n", "[+]etcd ok\n", "[+]informer-sync ok\n", "[+]poststarthook/rbac/bootstrap-roles ok\n", "readyz check passed\n"]
    {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let (code, text) = told(&s, "/livez?verbose&exclude=etcd&exclude=nothing").await;
    assert_eq!(code, 200);
    assert!(
        text.contains("[+]etcd excluded: ok\n")
            && text.contains("warn: some health checks cannot be excluded: no matches for \"nothing\"\n")
    );
    assert_eq!(told(&s, "/livez/ping").await, (200, "ok".into()));
    assert_eq!(told(&s, "/livez/nothing").await.0, 404);
    s.stop.cancel();
    assert_eq!(told(&s, "/readyz/shutdown").await, (500, "internal server error: process is shutting down\n".into()));
    assert_eq!(told(&s, "/readyz?exclude=shutdown").await.0, 200);
    assert_eq!(told(&s, "/livez").await.0, 200);
}

/// The value of a sample, its labels given in any order.
fn sample(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line =
        text.lines().find(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with(['{', ' '])) && labels.iter().all(|p| l.contains(p)))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_under_upstreams_names() {
    let (s, _dir) = server().await;
    s.map("a").await;
    s.get(&format!("{MAPS}/a")).await.expect(200);
    s.get(&format!("{MAPS}/none")).await.expect(404);
    s.get(MAPS).await.expect(200);
    s.get("/api/v1/inventions").await.expect(404);
    told(&s, "/livez").await;
    let events = s.events(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Da"), 1).await;
    assert_eq!(types(&events), ["ADDED"]);
    let (code, text) = told(&s, "/metrics").await;
    assert_eq!(code, 200);
    let maps = "resource=\"configmaps\"";
    for (name, labels, value) in [
        ("apiserver_request_total", vec![maps, "verb=\"POST\"", "code=\"201\"", "scope=\"resource\"", "dry_run=\"\""], 1.0),
        ("apiserver_request_total", vec![maps, "verb=\"GET\"", "code=\"404\"", "component=\"apiserver\""], 1.0),
        ("apiserver_request_total", vec![maps, "verb=\"LIST\"", "scope=\"namespace\""], 1.0),
        ("apiserver_request_total", vec!["resource=\"\"", "subresource=\"/livez\"", "verb=\"GET\""], 1.0),
        ("apiserver_request_duration_seconds_count", vec![maps, "verb=\"LIST\""], 1.0),
        ("apiserver_request_sli_duration_seconds_count", vec![maps, "verb=\"GET\""], 2.0),
        ("apiserver_response_sizes_count", vec![maps, "verb=\"LIST\""], 1.0),
        ("apiserver_watch_events_total", vec![maps], 1.0),
        ("apiserver_current_inflight_requests", vec!["request_kind=\"mutating\""], 0.0),
        ("kubernetes_feature_enabled", vec!["name=\"WatchList\"", "stage=\"BETA\""], 1.0),
        ("kubernetes_build_info", vec!["git_version=\"v1.36"], 1.0),
    ] {
        assert_eq!(sample(&text, name, &labels), Some(value), "{name} {labels:?} in\n{text}");
    }
    for name in [
        "apiserver_flowcontrol_nominal_limit_seats",
        "apiserver_storage_size_bytes",
        "apiserver_storage_objects",
        "etcd_request_duration_seconds_count",
        "apiserver_resource_objects",
        "authorization_attempts_total",
        "process_start_time_seconds",
    ] {
        assert!(sample(&text, name, &[]).is_some_and(|v| v >= 0.0), "{name}");
    }
    // What nobody serves is counted, but not under its name.
    assert!(!text.contains("inventions"));
    assert!(told(&s, "/metrics/slis").await.1.contains("kubernetes_healthcheck{name=\"etcd\",type=\"livez\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_here_is_told_and_profiles_are_not() {
    let (s, _dir) = server().await;
    let version: Value = s.get("/version").await.expect(200);
    for field in ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"] {
        assert!(version[field].is_string(), "{field}");
    }
    assert!(told(&s, "/statusz").await.1.contains("Binary version: v1.36"));
    assert!(told(&s, "/flagz").await.1.contains("feature-gates=WatchList=true"));
    let refused = s.get("/debug/pprof/profile").await.expect(501);
    assert!(refused["message"].as_str().unwrap().contains("is not implemented"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_off_takes_away_what_it_stands_for() {
    let dir = Dir::new();
    let mut features = Features::default();
    features.parse("ComponentStatusz=false,WatchList=false,APIResponseCompression=false").unwrap();
    let s = operated(&dir, Operations { features, ..Operations::default() }).await;
    assert_eq!(told(&s, "/statusz").await.0, 404);
    let refused = s.get(&format!("{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("WatchList feature gate"), "{refused}");
    let answer = s.send("GET", "/apis/apps/v1", &[("accept-encoding", "gzip")], String::new()).await;
    assert!(!answer.headers().contains_key("content-encoding"));
}

//! What a request costs in the parts that most of its time goes to, each alone and on one thread:
//! `cargo bench -p apiserver`. For the whole of it see BENCHMARKS.md.

use apiserver::body;
use bytes::Bytes;
use http_body_util::BodyExt;
use kinds::Kind;
use meta::decode;
use meta::managed::{self, Writer};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PODS: usize = 5000;

fn main() {
    let kind = kinds::registry::builtin().into_iter().find(|k| k.names().kind == "Pod").expect("pods are built in");
    let schema = kind.schema();
    let body = pod().to_string();
    let stored = stored(&*kind);
    let bytes = Bytes::from(stored.to_string());

    measure("parse a pod", || decode::parse_json(body.as_bytes()));
    measure("parse a stored pod", || serde_json::from_slice::<Value>(&bytes));
    measure("encode a stored pod", || serde_json::to_vec(&stored));
    measure("copy a stored pod", || stored.clone());
    measure("check against the schema", || decode::check(&schema, &mut pod()));
    measure("fill in defaults", || kind.default(&mut pod()));
    measure("validate", || kind.validate(&stored));
    measure("track a create", || managed::track_update(&schema, &mut pod(), None, writer()));
    let mut changed = stored.clone();
    changed["metadata"]["annotations"] = json!({"changed": "yes"});
    measure("track an update", || managed::track_update(&schema, &mut changed.clone(), Some(&stored), writer()));
    let applied = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": {"changed": "yes"}}});
    measure("apply an annotation", || managed::apply(&schema, &stored, &applied, true, writer()));

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let list: Vec<Bytes> = (0..PODS).flat_map(|_| [bytes.clone(), Bytes::from_static(b",")]).collect();
    measure("frames of a list of 5,000 pods", || runtime.block_on(drain(body::parts(list.clone()))));
}

fn measure<T>(what: &str, mut work: impl FnMut() -> T) {
    // Until its caches and the allocator's are warm.
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_millis(100) {
        black_box(work());
    }
    let (began, mut times) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_millis(500) {
        black_box(work());
        times += 1;
    }
    println!("{what:<32} {:>12.2} us", began.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}

async fn drain(mut body: body::Body) -> usize {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    length
}

fn writer() -> Writer<'static> {
    Writer { manager: "bench", api_version: "v1", subresource: "", time: "2026-01-01T00:00:00Z", reset: &["status"] }
}

fn stored(kind: &dyn Kind) -> Value {
    let schema: Arc<meta::schema::Schema> = kind.schema();
    let mut pod = pod();
    kind.default(&mut pod);
    managed::track_update(&schema, &mut pod, None, writer());
    pod["metadata"]["uid"] = "6c1c1c9e-8e4f-4f5e-9d0a-1f0a5a0c9b7e".into();
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod
}

fn pod() -> Value {
    let container = json!({
        "name": "web", "image": "registry.example/web:1", "ports": [{"containerPort": 8080}],
        "env": [{"name": "A", "value": "x".repeat(300)}, {"name": "B", "value": "y"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": [container], "nodeSelector": {"kubernetes.io/os": "linux"}},
    })
}

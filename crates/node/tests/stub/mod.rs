//! An API server of a few lines: objects by path, watches of pods, and a status patch that merges
//! conditions by type. Enough for the agent, which is what is tested.

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{self, UnboundedSender};

type Body = BoxBody<Bytes, Infallible>;

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Value>,
    version: u64,
    watchers: Vec<(String, UnboundedSender<Value>)>,
    patches: usize,
}

#[derive(Clone, Default)]
pub struct Stub(Arc<Mutex<Inner>>);

impl Inner {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if self.objects.insert(path.to_string(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(path, kind, &object);
        object
    }

    fn tell(&mut self, path: &str, kind: &str, object: &Value) {
        let plural = path.rsplit('/').nth(1).unwrap_or_default().to_string();
        self.watchers.retain(|(of, sender)| *of != plural || sender.send(json!({"type": kind, "object": object})).is_ok());
    }
}

impl Stub {
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    pub fn create(&self, path: &str, object: Value) {
        self.0.lock().put(path, object);
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut inner = self.0.lock();
        let mut object = inner.objects[path].clone();
        change(&mut object);
        inner.put(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().objects.get(path).cloned()
    }

    pub fn status_patches(&self) -> usize {
        self.0.lock().patches
    }

    pub fn events(&self) -> Vec<String> {
        let inner = self.0.lock();
        let events = inner.objects.iter().filter(|(p, _)| p.contains("/events/"));
        events
            .map(|(_, e)| format!("{}: {}", e["reason"].as_str().unwrap_or_default(), e["message"].as_str().unwrap_or_default()))
            .collect()
    }

    fn answer(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> Response<Body> {
        let mut inner = self.0.lock();
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        let single = inner.objects.contains_key(path);
        match *method {
            Method::GET if query.contains("watch=true") => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let plural = path.rsplit('/').next().unwrap_or_default().to_string();
                let since = query.split('&').find_map(|p| p.strip_prefix("resourceVersion=")?.parse::<u64>().ok()).unwrap_or(0);
                let version = |o: &Value| o["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
                for (_, object) in inner.objects.iter().filter(|(p, o)| p.contains(&format!("/{plural}/")) && version(o) > since) {
                    let _ = sender.send(json!({"type": "ADDED", "object": object}));
                }
                inner.watchers.push((plural, sender));
                let lines = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver)
                    .map(|event| Ok(http_body::Frame::data(Bytes::from(format!("{event}\n")))));
                Response::new(BodyExt::boxed(StreamBody::new(lines)))
            }
            Method::GET if single => full(200, &inner.objects[path]),
            Method::GET if ["pods", "services", "configmaps", "secrets"].iter().any(|p| path.ends_with(p)) => {
                let plural = format!("/{}/", path.rsplit('/').next().unwrap_or_default());
                let items: Vec<&Value> = inner.objects.iter().filter(|(p, _)| p.contains(&plural)).map(|(_, o)| o).collect();
                full(
                    200,
                    &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": inner.version.to_string()}, "items": items}),
                )
            }
            Method::POST => {
                let name = sent["metadata"]["name"].as_str().unwrap_or_default().to_string();
                let object = inner.put(&format!("{path}/{name}"), sent);
                full(201, &object)
            }
            Method::PATCH => {
                let path = path.strip_suffix("/status").unwrap_or(path);
                let Some(mut object) = inner.objects.get(path).cloned() else { return missing() };
                inner.patches += usize::from(path.contains("/pods/"));
                let before = object["status"]["conditions"].clone();
                merge(&mut object, &sent);
                if let Some(new) = sent["status"]["conditions"].as_array() {
                    let kept = before.as_array().into_iter().flatten().filter(|c| !new.iter().any(|n| n["type"] == c["type"]));
                    object["status"]["conditions"] = kept.chain(new).cloned().collect();
                }
                let object = inner.put(path, object);
                full(200, &object)
            }
            Method::DELETE => {
                let Some(object) = inner.objects.remove(path) else { return missing() };
                inner.tell(path, "DELETED", &object);
                full(200, &object)
            }
            _ => missing(),
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    match (target.as_object_mut(), patch.as_object()) {
        (Some(fields), Some(changes)) => {
            for (key, value) in changes {
                if value.is_null() { drop(fields.remove(key)) } else { merge(fields.entry(key).or_insert(Value::Null), value) }
            }
        }
        _ => {
            *target = patch.clone();
            if let Some(list) = target.as_array_mut() {
                list.retain(|item| item.get("$patch").is_none());
            }
        }
    }
}

fn full(code: u16, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed();
    Response::builder().status(code).header("content-type", "application/json").body(body).expect("a response")
}

fn missing() -> Response<Body> {
    full(
        404,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404}),
    )
}

impl tower::Service<Request<kube::client::Body>> for Stub {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let stub = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
            Ok(stub.answer(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), &body))
        })
    }
}

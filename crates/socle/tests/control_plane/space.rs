//! What the tests ask the API with: plain requests with JSON bodies, in a namespace of their own.

use crate::plane::{plane, until};
use http::{Method, Request};
use kube::core::Status;
use serde_json::{Value, json};

/// A refusal, as the server said it.
pub type Refused = Box<Status>;

pub fn request(method: Method, path: &str, content: &str, body: &Value) -> Result<Value, Refused> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("JSON") };
    let request = Request::builder().method(method).uri(path).header("content-type", content).body(body).expect("a request");
    let plane = plane();
    match plane.runtime.block_on(plane.client.request::<Value>(request)) {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("{path}: {error}"),
    }
}

pub const JSON: &str = "application/json";

/// A namespace of its own, ready for pods.
pub struct Space {
    pub name: String,
}

impl Space {
    pub fn new(name: &str) -> Self {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        request(Method::POST, "/api/v1/namespaces", JSON, &body).expect("a namespace");
        let space = Self { name: name.into() };
        space.wait("serviceaccounts", "default", |account| account.is_some());
        space
    }

    /// `pods`, `pods/web`, `apps/replicasets/web/status`; a group is known by not being a core resource.
    fn path(&self, what: &str) -> String {
        match what.split_once('/') {
            Some(("apps", rest)) => format!("/apis/apps/v1/namespaces/{}/{rest}", self.name),
            Some(("discovery.k8s.io", rest)) => format!("/apis/discovery.k8s.io/v1/namespaces/{}/{rest}", self.name),
            _ => format!("/api/v1/namespaces/{}/{what}", self.name),
        }
    }

    pub fn try_create(&self, resource: &str, body: &Value) -> Result<Value, Refused> {
        request(Method::POST, &self.path(resource), JSON, body)
    }

    pub fn create(&self, resource: &str, body: &Value) -> Value {
        self.try_create(resource, body).unwrap_or_else(|refused| panic!("{resource} {body}: {refused:?}"))
    }

    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        match request(Method::GET, &self.path(&format!("{resource}/{name}")), JSON, &Value::Null) {
            Ok(object) => Some(object),
            Err(refused) if refused.code == 404 => None,
            Err(refused) => panic!("{resource}/{name}: {refused:?}"),
        }
    }

    pub fn list(&self, resource: &str) -> Vec<Value> {
        let list = request(Method::GET, &self.path(resource), JSON, &Value::Null);
        list.unwrap_or_else(|refused| panic!("{resource}: {refused:?}"))["items"].as_array().cloned().unwrap_or_default()
    }

    pub fn try_replace(&self, resource: &str, object: &Value) -> Result<Value, Refused> {
        let name = object["metadata"]["name"].as_str().expect("a name");
        request(Method::PUT, &self.path(&format!("{resource}/{name}")), JSON, object)
    }

    pub fn patch(&self, resource: &str, name: &str, patch: &Value) -> Value {
        let path = self.path(&format!("{resource}/{name}"));
        let patched = request(Method::PATCH, &path, "application/strategic-merge-patch+json", patch);
        patched.unwrap_or_else(|refused| panic!("{path}: {refused:?}"))
    }

    /// Deletes by the object's uid, with the given options.
    pub fn delete(&self, resource: &str, object: &Value, options: &Value) {
        let mut options = options.clone();
        options["kind"] = json!("DeleteOptions");
        options["apiVersion"] = json!("v1");
        options["preconditions"] = json!({"uid": object["metadata"]["uid"]});
        let path = self.path(&format!("{resource}/{}", object["metadata"]["name"].as_str().expect("a name")));
        request(Method::DELETE, &path, JSON, &options).unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
    }

    /// Waits until the object is as wanted, or is not there where that is wanted.
    pub fn wait(&self, resource: &str, name: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        until(&format!("{resource}/{name} in {}", self.name), || {
            let object = self.get(resource, name);
            if wanted(object.as_ref()) { Ok(object) } else { Err(format!("{object:?}")) }
        })
    }

    pub fn wait_list(&self, resource: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        until(&format!("{resource} in {}", self.name), || {
            let objects = self.list(resource);
            if wanted(&objects) { Ok(objects) } else { Err(format!("{objects:?}")) }
        })
    }

    pub fn remove(&self) {
        request(Method::DELETE, &format!("/api/v1/namespaces/{}", self.name), JSON, &Value::Null).expect("deleted");
    }

    /// The namespace itself, as long as it is there.
    pub fn itself(&self) -> Option<Value> {
        match request(Method::GET, &format!("/api/v1/namespaces/{}", self.name), JSON, &Value::Null) {
            Ok(namespace) => Some(namespace),
            Err(refused) if refused.code == 404 => None,
            Err(refused) => panic!("namespace {}: {refused:?}", self.name),
        }
    }

    pub fn wait_until_gone(&self) {
        until(&format!("namespace {} is gone", self.name), || self.itself().map_or(Ok(()), |namespace| Err(namespace.to_string())));
    }
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// A pod of one container, not for any runtime.
pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "none.example/pause:1"}]}})
}

//! Whether a server behind this one can be used: its service is there, has endpoints, and answers for its version.

use super::GROUP;
use super::proxy::{self, Failure};
use super::remote::Remote;
use crate::body;
use crate::conditions;
use crate::connect::client::Target;
use crate::server::ApiServer;
use crate::user::User;
use http::Request;
use meta::{ApiError, GroupResource, time, value};
use serde_json::{Value, json};
use std::time::Duration;

/// How long the server has for an answer about itself.
const CHECK: Duration = Duration::from_secs(5);

pub struct Condition {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Condition {
    fn not(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    pub fn local() -> Self {
        Self { status: "True", reason: "Local", message: "Local APIServices are always available".into() }
    }

    pub fn good(&self) -> bool {
        self.status == "True"
    }
}

/// Who asks servers what they serve.
pub fn aggregator() -> User {
    User::new("system:kube-aggregator", &["system:masters"])
}

pub async fn check(server: &ApiServer, remote: &Remote) -> Condition {
    if let Some(wrong) = service(server, remote) {
        return wrong;
    }
    let target = match proxy::target(server, remote) {
        Ok(target) => target,
        Err(why) => return Condition::not("FailedDiscoveryCheck", why.to_string()),
    };
    match ask(&target, remote).await {
        Ok(()) => Condition { status: "True", reason: "Passed", message: "all checks passed".into() },
        Err(why) => Condition::not("FailedDiscoveryCheck", why),
    }
}

fn service(server: &ApiServer, remote: &Remote) -> Option<Condition> {
    let objects = server.objects();
    let (namespace, name) = (&remote.namespace, &remote.service);
    let Some(service) = objects.get(&GroupResource::new("", "services"), namespace, name) else {
        return Some(Condition::not("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
    };
    let service = service.value();
    if value::text(&service, &["spec", "type"]) != "ClusterIP" {
        return None;
    }
    let port = value::items(&service, &["spec", "ports"]).iter().find(|p| value::int(p, &["port"]) == Some(remote.port.into()));
    let Some(port) = port else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {}", remote.port);
        return Some(Condition::not("ServicePortError", message));
    };
    let port_name = value::text(port, &["name"]);
    let slices = objects.list(&GroupResource::new("discovery.k8s.io", "endpointslices"), Some(namespace));
    let slices: Vec<Value> = slices.iter().filter(|s| s.label("kubernetes.io/service-name") == Some(name)).map(|s| s.value()).collect();
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Condition::not("EndpointsNotFound", message));
    }
    let ready = |e: &Value| value::at(e, &["conditions", "ready"]).and_then(Value::as_bool).unwrap_or(true);
    let named = |p: &Value| value::text(p, &["name"]) == port_name && value::int(p, &["port"]).is_some();
    let usable = slices.iter().any(|s| value::items(s, &["endpoints"]).iter().any(ready) && value::items(s, &["ports"]).iter().any(named));
    if usable {
        return None;
    }
    let message = format!("endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}");
    Some(Condition::not("MissingEndpoints", message))
}

async fn ask(target: &Target, remote: &Remote) -> Result<(), String> {
    let url = format!("https://{}{}", target.authority(), remote.path());
    let failing = |why: String| format!("failing or missing response from {url}: {why}");
    match tokio::time::timeout(CHECK, get(target, remote, &remote.path(), &[])).await {
        Err(_) => Err(failing(format!("Get {url:?}: context deadline exceeded"))),
        Ok(Err(why)) => Err(failing(format!("Get {url:?}: {why}"))),
        Ok(Ok(answer)) if answer.status().as_u16() / 100 == 2 || answer.status().is_redirection() => Ok(()),
        Ok(Ok(answer)) => Err(failing(format!("bad status from {url}: {}", answer.status().as_u16()))),
    }
}

/// Asks the server about itself.
pub async fn get(
    target: &Target,
    remote: &Remote,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<http::Response<hyper::body::Incoming>, Failure> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body::empty()).map_err(|e| Failure::Misconfigured(e.to_string()))?;
    proxy::introduce(request.headers_mut(), &aggregator());
    proxy::send_to(target, remote, request).await
}

/// Writes the condition where it says something new.
pub async fn write(server: &ApiServer, name: &str, condition: &Condition) -> Result<(), ApiError> {
    let resource = GroupResource::new(GROUP, "apiservices");
    let Some(there) = server.objects().get(&resource, "", name) else { return Ok(()) };
    if !differs(&there.value(), condition) {
        return Ok(());
    }
    let change = |object: &mut Value| {
        set(object, condition);
        Ok(())
    };
    match server.update_status(&resource, "", name, change).await {
        Err(error) if error.code != 404 => Err(error),
        _ => Ok(()),
    }
}

fn available(object: &Value) -> Option<&Value> {
    value::items(object, &["status", "conditions"]).iter().find(|c| value::text(c, &["type"]) == "Available")
}

fn differs(object: &Value, condition: &Condition) -> bool {
    available(object).is_none_or(|c| {
        let text = |f: &str| value::text(c, &[f]);
        (text("status"), text("reason"), text("message")) != (condition.status, condition.reason, condition.message.as_str())
    })
}

fn set(object: &mut Value, condition: &Condition) {
    let new = json!({"type": "Available", "status": condition.status, "reason": condition.reason, "message": condition.message});
    conditions::set(object, new, &time::now());
}

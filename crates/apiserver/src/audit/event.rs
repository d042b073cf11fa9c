//! One event as JSON, in the form of `audit.k8s.io/v1`.

use super::Peer;
use super::policy::{Level, Stage};
use crate::attributes::Attributes;
use crate::negotiate;
use crate::user::User;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use meta::value;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longer agents say nothing more.
const AGENT: usize = 1024;

type Encoded = (Option<HeaderValue>, Bytes);

pub struct Event {
    level: Level,
    audit_id: Arc<str>,
    uri: String,
    agent: String,
    sources: Vec<String>,
    user: Value,
    received: Timestamp,
    pub impersonated: Option<Arc<User>>,
    pub request: Option<Encoded>,
    pub response: Option<Encoded>,
    pub failure: Option<(String, String)>,
}

fn who(user: &User) -> Value {
    let mut out = Map::new();
    out.insert("username".into(), json!(user.name));
    if !user.uid.is_empty() {
        out.insert("uid".into(), json!(user.uid));
    }
    if !user.groups.is_empty() {
        out.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        out.insert("extra".into(), json!(user.extra));
    }
    Value::Object(out)
}

/// What proxies say, then whom the connection is from.
fn sources(headers: &HeaderMap, peer: Option<&Peer>) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let mut all: Vec<String> = text("x-forwarded-for").split(',').map(|ip| ip.trim().to_string()).collect();
    all.push(text("x-real-ip"));
    all.extend(peer.map(|p| p.0.ip().to_canonical().to_string()));
    all.retain(|ip| ip.parse::<std::net::IpAddr>().is_ok());
    let mut unique: Vec<String> = Vec::new();
    for ip in all {
        if !unique.contains(&ip) {
            unique.push(ip);
        }
    }
    unique
}

impl Event {
    pub fn new(parts: &http::request::Parts, sender: &User, audit_id: Arc<str>, level: Level) -> Self {
        let agent = parts.headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Self {
            level,
            audit_id,
            uri: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            agent: if agent.len() > AGENT { format!("{}...TRUNCATED", agent.get(..AGENT).unwrap_or_default()) } else { agent.into() },
            sources: sources(&parts.headers, parts.extensions.get::<Peer>()),
            user: who(sender),
            received: Timestamp::now(),
            impersonated: None,
            request: None,
            response: None,
            failure: None,
        }
    }

    pub fn object(
        &self,
        stage: Stage,
        now: Timestamp,
        attributes: &Attributes,
        code: Option<StatusCode>,
        annotations: &BTreeMap<String, String>,
        omit_managed_fields: bool,
    ) -> Value {
        let time = |t: Timestamp| format!("{t:.6}");
        let mut out = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": self.level.name(), "auditID": *self.audit_id,
            "stage": stage.name(), "requestURI": self.uri, "verb": attributes.verb, "user": self.user,
        });
        if let Some(user) = &self.impersonated {
            out["impersonatedUser"] = who(user);
        }
        if !self.sources.is_empty() {
            out["sourceIPs"] = json!(self.sources);
        }
        if !self.agent.is_empty() {
            out["userAgent"] = json!(self.agent);
        }
        if attributes.is_resource {
            out["objectRef"] = self.reference(attributes);
        }
        if let Some(code) = code {
            out["responseStatus"] = self.status(code);
        }
        let ended = stage != Stage::RequestReceived;
        if let Some(body) = self.request.as_ref().filter(|_| ended && self.level >= Level::Request) {
            set(&mut out, "requestObject", body, omit_managed_fields);
        }
        if let Some(body) = self.response.as_ref().filter(|_| ended && self.level >= Level::RequestResponse) {
            set(&mut out, "responseObject", body, omit_managed_fields);
        }
        out["requestReceivedTimestamp"] = json!(time(self.received));
        out["stageTimestamp"] = json!(time(now));
        if !annotations.is_empty() {
            out["annotations"] = json!(annotations);
        }
        out
    }

    fn reference(&self, a: &Attributes) -> Value {
        let mut out = Map::new();
        let created = self.response.as_ref().filter(|_| a.verb == "create" && a.name.is_empty()).and_then(decoded);
        let name = created.as_ref().map_or(a.name.as_str(), |o| value::text(o, &["metadata", "name"]));
        let fields = [
            ("resource", a.resource.as_str()),
            ("namespace", &a.namespace),
            ("name", name),
            ("apiGroup", &a.group),
            ("apiVersion", &a.version),
            ("subresource", &a.subresource),
        ];
        for (key, text) in fields {
            if !text.is_empty() {
                out.insert(key.into(), json!(text));
            }
        }
        Value::Object(out)
    }

    fn status(&self, code: StatusCode) -> Value {
        let mut out = json!({"metadata": {}, "code": code.as_u16()});
        if let Some((reason, message)) = &self.failure {
            out["status"] = json!("Failure");
            out["message"] = json!(message);
            out["reason"] = json!(reason);
        }
        out
    }
}

fn decoded((content_type, bytes): &Encoded) -> Option<Value> {
    // Patches have media types of their own, and are JSON or YAML all the same.
    negotiate::decode(content_type.as_ref(), bytes).or_else(|_| negotiate::yaml(bytes)).ok().map(|(value, _)| value)
}

fn set(out: &mut Value, key: &str, body: &Encoded, omit_managed_fields: bool) {
    if body.1.is_empty() {
        return;
    }
    let Some(mut object) = decoded(body) else { return };
    if omit_managed_fields {
        value::remove(&mut object, &["metadata", "managedFields"]);
        if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
            items.iter_mut().for_each(|i| drop(value::remove(i, &["metadata", "managedFields"])));
        }
    }
    out[key] = object;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_upstreams_form() {
        let request = http::Request::post("/api/v1/namespaces/a/configmaps?x=1")
            .header("user-agent", "kubectl/v1.36")
            .header("x-forwarded-for", "10.0.0.1, nonsense");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer("[::ffff:192.0.2.7]:1234".parse().unwrap()));
        let mut event = Event::new(&parts, &User::new("jane", &["devs"]), "id".into(), Level::RequestResponse);
        let map = r#"{"metadata":{"name":"m","managedFields":[{"manager":"x"}]},"data":{"a":"b"}}"#;
        event.request = Some((None, Bytes::from_static(map.as_bytes())));
        event.response = event.request.clone();
        let attributes = Attributes {
            verb: "create".into(),
            version: "v1".into(),
            resource: "configmaps".into(),
            namespace: "a".into(),
            is_resource: true,
            ..Attributes::default()
        };
        let notes = BTreeMap::from([("authorization.k8s.io/decision".to_string(), "allow".to_string())]);
        let now = Timestamp::UNIX_EPOCH;
        let mut object = event.object(Stage::ResponseComplete, now, &attributes, Some(StatusCode::CREATED), &notes, true);
        value::remove(&mut object, &["requestReceivedTimestamp"]);
        let stored = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
        let expected = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "id", "stage": "ResponseComplete",
            "requestURI": "/api/v1/namespaces/a/configmaps?x=1", "verb": "create", "user": {"username": "jane", "groups": ["devs"]},
            "sourceIPs": ["10.0.0.1", "192.0.2.7"], "userAgent": "kubectl/v1.36",
            "objectRef": {"resource": "configmaps", "namespace": "a", "name": "m", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 201}, "requestObject": stored, "responseObject": stored,
            "stageTimestamp": "1970-01-01T00:00:00.000000Z", "annotations": {"authorization.k8s.io/decision": "allow"},
        });
        assert_eq!(object, expected);
        let received = event.object(Stage::RequestReceived, now, &attributes, None, &BTreeMap::new(), true);
        assert!(received.get("requestObject").is_none() && received.get("responseStatus").is_none());
    }
}

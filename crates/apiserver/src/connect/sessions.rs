//! `pods/exec`, `pods/attach`, `pods/portforward`: sessions in SPDY or WebSocket, whose protocol is between
//! the client and the container runtime. What the runtime does not speak it refuses, and its refusal reaches
//! the client, which then offers an older protocol.

use super::{client, locate};
use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::body::{self, Body};
use crate::handlers::{Context, Handler};
use crate::query::Query;
use async_trait::async_trait;
use http::{HeaderValue, Method, Request, Response, header};
use meta::{ApiError, GroupResource, value};
use std::fmt::Write;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Exec,
    Attach,
    PortForward,
}

impl Kind {
    pub fn subresource(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }

    /// The kubelet's path and parameters.
    fn path(self, namespace: &str, pod: &str, container: &str, query: &Query) -> String {
        const STREAMS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
        let streams = STREAMS.iter().filter(|(name, _)| query.flag(name)).map(|(_, theirs)| (*theirs, "1"));
        match self {
            Self::Exec => {
                format!("/exec/{namespace}/{pod}/{container}?{}", encode(streams.chain(query.all("command").map(|c| ("command", c)))))
            }
            Self::Attach => format!("/attach/{namespace}/{pod}/{container}?{}", encode(streams)),
            Self::PortForward => format!("/portForward/{namespace}/{pod}?{}", encode(query.all("ports").map(|p| ("port", p)))),
        }
    }
}

pub struct Sessions {
    pub kind: Kind,
    pub tls: Arc<rustls::ClientConfig>,
}

#[async_trait]
impl Handler for Sessions {
    async fn handle(&self, context: &Context, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let attributes = &context.attributes;
        if !matches!(*request.method(), Method::GET | Method::POST) {
            let resource = GroupResource::new("", attributes.full_resource());
            return Err(ApiError::method_not_supported(&resource, &attributes.verb));
        }
        if *request.method() == Method::GET {
            may_create(context)?;
        }
        let query = Query::of(request.uri());
        let objects = context.server.objects();
        let (namespace, name) = (attributes.namespace.as_str(), attributes.name.as_str());
        let pod = locate::object(&*objects, "pods", namespace, name)?;
        let container = if self.kind == Kind::PortForward { String::new() } else { locate::container(&pod, query.text("container"))? };
        let node = value::text(&pod, &["spec", "nodeName"]);
        if node.is_empty() {
            return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
        }
        if !client::upgrades(request.headers()) {
            return Err(ApiError::bad_request("Upgrade request required"));
        }
        let target = locate::kubelet(&*objects, node, &self.tls)?;
        let mut outgoing = Request::new(body::empty());
        *outgoing.method_mut() = request.method().clone();
        *outgoing.uri_mut() =
            self.kind.path(namespace, name, &container, &query).parse().map_err(|e| ApiError::bad_request(format!("{e}")))?;
        *outgoing.headers_mut() = request.headers().clone();
        let headers = outgoing.headers_mut();
        client::strip(headers, true);
        client::strip_token(headers);
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::HOST, HeaderValue::from_str(&target.authority()).map_err(ApiError::internal)?);
        let response = client::send(&target, outgoing).await.map_err(|e| ApiError::internal(format!("error dialing backend: {e}")))?;
        let near = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        Ok(client::hand_over(near, response))
    }
}

/// Running something is no reading, though WebSocket begins with a GET.
fn may_create(context: &Context) -> Result<(), ApiError> {
    let wanted = Attributes { verb: "create".into(), ..(*context.attributes).clone() };
    match context.server.authorizer().authorize(&wanted) {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(crate::chain::refusal(&wanted, &reason)),
    }
}

pub fn encode<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, text) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
                // Writing to a String does not fail.
                other => drop(write!(out, "%{other:02X}")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_translated_for_the_kubelet() {
        let query = Query::parse("command=sh&command=-c&command=echo%20%26%20a&stdin=true&stdout=1&stderr=false&tty=true");
        assert_eq!(
            Kind::Exec.path("n", "p", "c", &query),
            "/exec/n/p/c?input=1&output=1&tty=1&command=sh&command=-c&command=echo%20%26%20a"
        );
        assert_eq!(Kind::PortForward.path("n", "p", "", &Query::parse("ports=80&ports=81")), "/portForward/n/p?port=80&port=81");
    }
}

//! `pods/proxy`, `services/proxy`, `nodes/proxy`: plain HTTP requests passed into the cluster.

use super::client::{self, Target};
use super::{locate, page, trust};
use crate::body::{self, Body};
use crate::handlers::{Context, Handler};
use async_trait::async_trait;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use meta::ApiError;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pods,
    Services,
    Nodes,
}

pub struct Proxy {
    pub kind: Kind,
    pub tls: Arc<rustls::ClientConfig>,
}

impl Proxy {
    fn target(&self, context: &Context) -> Result<Target, ApiError> {
        let objects = context.server.objects();
        let (namespace, id) = (context.attributes.namespace.as_str(), context.attributes.name.as_str());
        let (host, port, https) = match self.kind {
            Kind::Pods => locate::pod(&*objects, namespace, id)?,
            Kind::Services => locate::service(&*objects, namespace, id)?,
            Kind::Nodes => {
                let invalid = || ApiError::bad_request(format!("invalid node request {id:?}"));
                let spot = locate::Spot::parse(id).ok_or_else(invalid)?;
                let node = locate::object(&*objects, "nodes", "", spot.name)?;
                let (host, kubelet) = (locate::node_address(&node)?, locate::kubelet_port(&node));
                let port = if spot.port.is_empty() { kubelet } else { spot.port.parse().map_err(|_| invalid())? };
                if port == kubelet {
                    return Ok(Target { host, port, tls: Some(self.tls.clone()) });
                }
                locate::proxyable(&host)?;
                (host, port, spot.scheme == "https")
            }
        };
        let tls = if https { Some(trust::anybody().ok_or_else(|| ApiError::internal("TLS is not available"))?) } else { None };
        Ok(Target { host, port, tls })
    }
}

#[async_trait]
impl Handler for Proxy {
    async fn handle(&self, context: &Context, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let target = self.target(context)?;
        let path = request.uri().path().to_string();
        let upgrading = client::upgrades(request.headers());
        let (prefix, inner) = match split(&path, &context.attributes.rest) {
            Some(parts) => parts,
            // Relative links of a page lead somewhere only from behind a slash.
            None if matches!(*request.method(), Method::GET | Method::HEAD) => return redirect(request.uri()),
            None => (path.as_str(), "/"),
        };
        let near = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let (mut parts, body) = request.into_parts();
        let with_query = match parts.uri.query() {
            Some(query) => format!("{inner}?{query}"),
            None => inner.to_string(),
        };
        parts.uri = with_query.parse().map_err(|e| ApiError::bad_request(format!("{e}")))?;
        parts.version = http::Version::HTTP_11;
        parts.extensions = http::Extensions::new();
        let host = parts.headers.get(header::HOST).cloned();
        let head = parts.method == Method::HEAD;
        let seen = Seen {
            prefix: prefix.to_string(),
            own: target.authority(),
            host: host.as_ref().and_then(|h| h.to_str().ok()).unwrap_or_default().to_string(),
        };
        client::strip(&mut parts.headers, upgrading);
        client::strip_token(&mut parts.headers);
        if let Some(host) = host {
            parts.headers.insert("x-forwarded-host", host);
        }
        if let Ok(value) = HeaderValue::from_str(&format!("{prefix}{inner}")) {
            parts.headers.insert("x-forwarded-uri", value);
        }
        parts.headers.insert(header::HOST, HeaderValue::from_str(&target.authority()).map_err(ApiError::internal)?);
        let body = if upgrading { body::empty() } else { body };
        let response = client::send(&target, Request::from_parts(parts, body)).await;
        let response = response.map_err(|e| ApiError::unavailable(format!("error trying to reach service: {e}")))?;
        let mut response = client::hand_over(near.filter(|_| upgrading), response);
        if let Some(location) = response.headers().get(header::LOCATION) {
            let moved = location.to_str().ok().and_then(|l| seen.through(l)).and_then(|l| HeaderValue::from_str(&l).ok());
            moved.map(|value| response.headers_mut().insert(header::LOCATION, value));
        } else if !head && !upgrading {
            let seen = seen.in_a_page();
            return Ok(page::rewritten(response, Box::new(move |link| seen.through(link))));
        }
        Ok(response)
    }
}

/// What leads to the proxy, and the path behind it; none where not even a slash follows.
fn split<'a>(path: &'a str, rest: &str) -> Option<(&'a str, &'a str)> {
    if rest.is_empty() {
        return path.strip_suffix('/').map(|prefix| (prefix.trim_end_matches('/'), "/"));
    }
    let prefix = path.strip_suffix(rest)?.strip_suffix('/')?;
    Some((prefix, &path[prefix.len()..]))
}

fn redirect(uri: &Uri) -> Result<Response<Body>, ApiError> {
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let location = format!("{}/{query}", uri.path());
    let response = Response::builder().status(StatusCode::MOVED_PERMANENTLY).header(header::LOCATION, location);
    response.body(body::empty()).map_err(ApiError::internal)
}

/// How someone outside sees the target.
struct Seen {
    prefix: String,
    /// What the target calls itself.
    own: String,
    /// What the client called this server.
    host: String,
}

impl Seen {
    /// Where an address within the target is for someone outside.
    fn through(&self, location: &str) -> Option<String> {
        let of = |host: &str| {
            let scheme = ["http://", "https://"].into_iter().find(|s| location.starts_with(s))?;
            let path = location[scheme.len()..].strip_prefix(host)?;
            (!host.is_empty() && (path.is_empty() || path.starts_with('/'))).then_some((&location[..scheme.len() + host.len()], path))
        };
        let (origin, path) = match (of(&self.own), of(&self.host)) {
            (Some((_, path)), _) => ("", if path.is_empty() { "/" } else { path }),
            (None, Some((origin, path))) => (origin, path),
            (None, None) => ("", location),
        };
        let within = path.starts_with('/') && !path.starts_with("//") && !path.starts_with(&format!("{}/", self.prefix));
        within.then(|| format!("{origin}{}{path}", self.prefix))
    }

    /// The same for addresses in a page, where what the prefix brings must not end the attribute.
    fn in_a_page(self) -> Self {
        let prefix = self.prefix.replace('&', "&amp;").replace('"', "&quot;").replace('\'', "&#39;");
        Self { prefix, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_where_the_proxy_begins() {
        assert_eq!(split("/api/v1/nodes/n/proxy/", ""), Some(("/api/v1/nodes/n/proxy", "/")));
        assert_eq!(split("/api/v1/nodes/n/proxy/a%20b/", "a%20b/"), Some(("/api/v1/nodes/n/proxy", "/a%20b/")));
        assert_eq!(split("/api/v1/nodes/n/proxy", ""), None);
    }

    #[test]
    fn redirections_stay_behind_the_proxy() {
        let seen = Seen { prefix: "/p/proxy".into(), own: "10.0.0.1:80".into(), host: "localhost:8001".into() };
        assert_eq!(seen.through("/login").as_deref(), Some("/p/proxy/login"));
        assert_eq!(seen.through("http://10.0.0.1:80/x").as_deref(), Some("/p/proxy/x"));
        assert_eq!(seen.through("http://10.0.0.1:80").as_deref(), Some("/p/proxy/"));
        assert_eq!(seen.through("http://localhost:8001/x").as_deref(), Some("http://localhost:8001/p/proxy/x"));
        for elsewhere in ["https://example.org/x", "http://10.0.0.1:8080/x", "//10.0.0.2/x", "x", "/p/proxy/x"] {
            assert_eq!(seen.through(elsewhere), None, "{elsewhere}");
        }
    }
}

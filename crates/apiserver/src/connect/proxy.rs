//! `pods/proxy`, `services/proxy`, `nodes/proxy`: plain HTTP requests passed into the cluster.

use super::client::{self, Target};
use super::{locate, trust};
use crate::body::{self, Body};
use crate::handlers::{Context, Handler};
use async_trait::async_trait;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
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
        let Some((prefix, inner)) = split(&path, &context.attributes.rest) else {
            // Relative links of a page lead somewhere only from behind a slash.
            return redirect(request.uri());
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
        let moved = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).and_then(|l| through(prefix, &target, l));
        if let Some(value) = moved.and_then(|l| HeaderValue::from_str(&l).ok()) {
            response.headers_mut().insert(header::LOCATION, value);
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

/// Where a redirection within the target is for someone outside.
fn through(prefix: &str, target: &Target, location: &str) -> Option<String> {
    let own = ["http", "https"].iter().find_map(|scheme| location.strip_prefix(&format!("{scheme}://{}", target.authority())));
    let path = own.unwrap_or(location);
    let within = path.starts_with('/') && !path.starts_with("//") && !path.starts_with(&format!("{prefix}/"));
    match (own, within) {
        (Some(""), _) => Some(format!("{prefix}/")),
        (_, true) => Some(format!("{prefix}{path}")),
        _ => None,
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
        let target = Target { host: "10.0.0.1".into(), port: 80, tls: None };
        assert_eq!(through("/p/proxy", &target, "/login").as_deref(), Some("/p/proxy/login"));
        assert_eq!(through("/p/proxy", &target, "http://10.0.0.1:80/x").as_deref(), Some("/p/proxy/x"));
        assert_eq!(through("/p/proxy", &target, "https://example.org/x"), None);
    }
}

//! Requests that another server answers, in its own words. It learns who asks from headers, and believes them because
//! of this server's client certificate.

use super::remote::Remote;
use crate::body::{self, Body};
use crate::connect::client::{self, Target};
use crate::handlers::Context;
use crate::server::ApiServer;
use crate::user::User;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use meta::ApiError;

pub const USER: &str = "x-remote-user";
pub const UID: &str = "x-remote-uid";
pub const GROUP: &str = "x-remote-group";
pub const EXTRA: &str = "x-remote-extra-";

pub async fn pass(context: &Context, remote: &Remote, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
    if !remote.available {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"));
    }
    let near = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let upgrading = client::upgrades(request.headers());
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_string();
    parts.uri = path.parse().map_err(|e| ApiError::bad_request(format!("{e}")))?;
    let host = parts.headers.get(header::HOST).cloned();
    client::strip(&mut parts.headers, upgrading);
    client::strip_token(&mut parts.headers);
    if let Some(host) = host {
        parts.headers.insert("x-forwarded-host", host);
    }
    parts.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Ok(id) = HeaderValue::from_str(&context.audit_id) {
        parts.headers.insert(HeaderName::from_static("audit-id"), id);
    }
    introduce(&mut parts.headers, &context.attributes.user);
    let body = if upgrading { body::empty() } else { body };
    match send(&context.server, remote, Request::from_parts(parts, body)).await {
        Ok(response) => {
            let mut response = client::hand_over(near.filter(|_| upgrading), response);
            // This server gives its own.
            response.headers_mut().remove("audit-id");
            Ok(response)
        }
        Err(Failure::Away(why)) => {
            tracing::debug!(apiservice = remote.name, %why, "a server behind this one cannot be found");
            Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"))
        }
        Err(Failure::Misconfigured(why)) => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, &why)),
        Err(Failure::Unreachable(why)) => Ok(plain(StatusCode::SERVICE_UNAVAILABLE, &why)),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Away(String),
    #[error("{0}")]
    Misconfigured(String),
    #[error("{0}")]
    Unreachable(String),
}

/// Where the server is now; its URL is in front of what is told about it.
pub fn target(server: &ApiServer, remote: &Remote) -> Result<Target, Failure> {
    let tls = remote.tls.clone().map_err(Failure::Misconfigured)?;
    let (host, port) = remote.address(&*server.objects()).map_err(|e| Failure::Away(e.message.clone()))?;
    Ok(Target { host, port, tls: Some(tls) })
}

pub async fn send(server: &ApiServer, remote: &Remote, request: Request<Body>) -> Result<Response<hyper::body::Incoming>, Failure> {
    send_to(&target(server, remote)?, remote, request).await
}

pub async fn send_to(target: &Target, remote: &Remote, request: Request<Body>) -> Result<Response<hyper::body::Incoming>, Failure> {
    let (mut parts, body) = request.into_parts();
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    parts.headers.insert(header::HOST, HeaderValue::from_str(&target.authority()).map_err(|e| Failure::Misconfigured(e.to_string()))?);
    let sent = client::send_named(target, &remote.server_name(), Request::from_parts(parts, body)).await;
    sent.map_err(|e| Failure::Unreachable(e.to_string()))
}

/// Says who asks; what the caller said about that himself is not passed on.
pub fn introduce(headers: &mut HeaderMap, user: &User) {
    let said: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().starts_with("x-remote-")).cloned().collect();
    said.into_iter().for_each(|n| drop(headers.remove(n)));
    let mut add = |name: &str, value: &str| {
        // HTTP/2 and HTTP/1.1 both carry UTF-8 as opaque bytes.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    };
    add(USER, &user.name);
    if !user.uid.is_empty() {
        add(UID, &user.uid);
    }
    user.groups.iter().for_each(|g| add(GROUP, g));
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", escape(key));
        values.iter().for_each(|v| add(&name, v));
    }
}

/// Header names cannot hold everything that keys do.
fn escape(key: &str) -> String {
    key.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn plain(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{text}\n")));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_introduces_himself() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.insert("x-remote-extra-scope", HeaderValue::from_static("all"));
        let mut user = User::new("jane", &["a", "b"]);
        user.extra.insert("example.org/Key".into(), vec!["1".into()]);
        introduce(&mut headers, &user);
        assert_eq!(headers.get_all(USER).iter().collect::<Vec<_>>(), ["jane"]);
        assert_eq!(headers.get_all(GROUP).iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(headers.get("x-remote-extra-example.org%2fkey").unwrap(), "1");
        assert!(!headers.contains_key("x-remote-extra-scope"));
    }
}

//! The error that every layer of the API returns: what a `Status` of kind Failure says.
//! Constructors and texts follow apimachinery `pkg/api/errors`.

use crate::field::FieldErrors;
use crate::names::{GroupKind, GroupResource};
use serde_json::{Value, json};
use std::borrow::Cow;

#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    pub name: String,
    pub group: String,
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub details: Option<Box<Details>>,
}

impl ApiError {
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None }
    }

    fn about(code: u16, reason: &'static str, message: String, resource: &GroupResource, name: &str) -> Self {
        let details = Details { name: name.into(), group: resource.group.clone(), kind: resource.resource.clone(), ..Details::default() };
        Self { code, reason: reason.into(), message, details: Some(Box::new(details)) }
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::about(404, "NotFound", format!("{resource} \"{name}\" not found"), resource, name)
    }

    /// No such path or resource on this server.
    pub fn page_not_found() -> Self {
        let mut e = Self::new(404, "NotFound", "the server could not find the requested resource");
        e.details = Some(Box::default());
        e
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::about(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"), resource, name)
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        Self::about(409, "Conflict", format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"), resource, name)
    }

    /// The conflict of a write that was based on an older revision.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    pub fn invalid(kind: &GroupKind, name: &str, errors: &FieldErrors) -> Self {
        let causes = errors
            .0
            .iter()
            .map(|e| Cause { reason: e.kind.reason().into(), message: e.body.clone(), field: e.path.as_str().into() })
            .collect();
        let details = Details { name: name.into(), group: kind.group.clone(), kind: kind.kind.clone(), causes, ..Details::default() };
        Self {
            code: 422,
            reason: "Invalid".into(),
            message: format!("{kind} \"{name}\" is invalid: {errors}"),
            details: Some(Box::new(details)),
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "Unauthorized", message)
    }

    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message =
            if name.is_empty() { format!("{resource} is forbidden: {why}") } else { format!("{resource} \"{name}\" is forbidden: {why}") };
        Self::about(403, "Forbidden", message, resource, name)
    }

    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        Self::about(405, "MethodNotAllowed", format!("{action} is not supported on resources of kind \"{resource}\""), resource, "")
    }

    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A resource version or continue token too old to be served.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut e = Self::new(429, "TooManyRequests", message);
        e.details = Some(Box::new(Details { retry_after_seconds, ..Details::default() }));
        e
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        let mut e = Self::new(500, "InternalError", format!("Internal error occurred: {text}"));
        e.details = Some(Box::new(Details {
            causes: vec![Cause { reason: String::new(), message: text, field: String::new() }],
            ..Details::default()
        }));
        e
    }

    /// A capability of the API that is not built yet; said plainly rather than faked.
    pub fn not_implemented(what: impl std::fmt::Display) -> Self {
        Self::new(501, "NotImplemented", format!("{what} is not implemented by this server"))
    }

    /// What a `Status` of somebody else's says, as far as it is one.
    pub fn from_status(status: &Value) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let code = status.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()).unwrap_or(0);
        let mut error = Self::new(code, text(status, "reason"), text(status, "message"));
        error.details = status.get("details").filter(|d| d.is_object()).map(|d| {
            let cause = |c: &Value| Cause { reason: text(c, "reason"), message: text(c, "message"), field: text(c, "field") };
            Box::new(Details {
                name: text(d, "name"),
                group: text(d, "group"),
                kind: text(d, "kind"),
                uid: text(d, "uid"),
                causes: d.get("causes").and_then(Value::as_array).into_iter().flatten().map(cause).collect(),
                retry_after_seconds: d.get("retryAfterSeconds").and_then(Value::as_u64).and_then(|s| u32::try_from(s).ok()).unwrap_or(0),
            })
        });
        error
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(d) = &self.details {
            let mut details = serde_json::Map::new();
            for (key, text) in [("name", &d.name), ("group", &d.group), ("kind", &d.kind), ("uid", &d.uid)] {
                if !text.is_empty() {
                    details.insert(key.into(), text.as_str().into());
                }
            }
            if !d.causes.is_empty() {
                let causes = d.causes.iter().map(|c| {
                    let mut cause = serde_json::Map::new();
                    for (key, text) in [("reason", &c.reason), ("message", &c.message), ("field", &c.field)] {
                        if !text.is_empty() {
                            cause.insert(key.into(), text.as_str().into());
                        }
                    }
                    Value::Object(cause)
                });
                details.insert("causes".into(), causes.collect());
            }
            if d.retry_after_seconds > 0 {
                details.insert("retryAfterSeconds".into(), d.retry_after_seconds.into());
            }
            status["details"] = Value::Object(details);
        }
        status
    }
}

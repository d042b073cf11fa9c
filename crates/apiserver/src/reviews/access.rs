//! May that user do this?

use super::{AUTHORIZATION, answer, read, selectors};
use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::body::Body;
use crate::handlers::{Context, Handler};
use crate::user::User;
use async_trait::async_trait;
use http::{Request, Response};
use meta::{ApiError, GroupKind, value};
use serde_json::{Value, json};
use std::sync::Arc;

pub struct AccessReviews {
    /// About the caller.
    pub own: bool,
}

#[async_trait]
impl Handler for AccessReviews {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (mut object, headers) = read(request).await?;
        let resource = context.resource.as_ref().ok_or_else(ApiError::page_not_found)?;
        let kind = resource.group_kind.kind.as_str();
        if context.attributes.verb != "create" {
            return Err(ApiError::method_not_supported(&resource.group_resource, &context.attributes.verb));
        }
        if resource.namespaced() {
            value::default(&mut object, &["metadata", "namespace"], context.attributes.namespace.as_str());
            let namespace = value::text(&object, &["metadata", "namespace"]);
            if namespace != context.attributes.namespace {
                let why = format!("namespace on request does not match: {namespace}");
                return Err(ApiError::bad_request(why));
            }
        }
        let errors = resource.kind.validate(&object);
        if !errors.is_empty() {
            return Err(ApiError::invalid(&GroupKind::new(AUTHORIZATION, kind), "", &errors));
        }
        let spec = object.get("spec").cloned().unwrap_or_default();
        let user = if self.own { context.attributes.user.clone() } else { Arc::new(user(&spec)) };
        let (asked, said) = attributes(&spec, user);
        let mut status = match context.server.authorizer().authorize(&asked) {
            Decision::Allow => json!({"allowed": true}),
            Decision::Deny(reason) => json!({"allowed": false, "denied": true, "reason": reason}),
            Decision::NoOpinion(reason) if reason.is_empty() => json!({"allowed": false}),
            Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason}),
        };
        if !said.is_empty() {
            status["evaluationError"] = said.join("; ").into();
        }
        value::set(&mut object, &["status"], status);
        answer(&headers, object, &format!("{AUTHORIZATION}/v1"), kind)
    }
}

fn user(spec: &Value) -> User {
    let texts = |v: &Value| v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect::<Vec<_>>();
    let extra = spec.get("extra").and_then(Value::as_object);
    User {
        name: value::text(spec, &["user"]).into(),
        uid: value::text(spec, &["uid"]).into(),
        groups: spec.get("groups").map(texts).unwrap_or_default(),
        extra: extra.into_iter().flatten().map(|(k, v)| (k.clone(), texts(v))).collect(),
    }
}

/// What is asked, and what of it could not be read.
fn attributes(spec: &Value, user: Arc<User>) -> (Attributes, Vec<&'static str>) {
    let resource = spec.get("resourceAttributes").filter(|r| !r.is_null());
    let about = resource.or_else(|| spec.get("nonResourceAttributes")).unwrap_or(&Value::Null);
    let text = |f: &str| value::text(about, &[f]).to_string();
    let (field_selector, field_error) = selectors::field(about);
    let (label_selector, label_error) = selectors::label(about);
    let version = text("version");
    let attributes = Attributes {
        user,
        verb: text("verb"),
        group: text("group"),
        version: if version.is_empty() && resource.is_some() { "*".into() } else { version },
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: text("path"),
        is_resource: resource.is_some(),
        named: !value::text(about, &["name"]).is_empty(),
        field_selector,
        label_selector,
        ..Attributes::default()
    };
    (attributes, field_error.into_iter().chain(label_error).collect())
}

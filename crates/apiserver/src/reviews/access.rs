//! May that user do this?

use super::{AUTHORIZATION, answer, read};
use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::body::Body;
use crate::handlers::{Context, Handler};
use crate::user::User;
use async_trait::async_trait;
use http::{Request, Response};
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, value};
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
        let spec = object.get("spec").cloned().unwrap_or_default();
        let kind = match context.attributes.resource.as_str() {
            "localsubjectaccessreviews" => "LocalSubjectAccessReview",
            "selfsubjectaccessreviews" => "SelfSubjectAccessReview",
            _ => "SubjectAccessReview",
        };
        self.check(&spec, kind, &context.attributes.namespace)?;
        let user = if self.own { context.attributes.user.clone() } else { Arc::new(user(&spec)) };
        let asked = attributes(&spec, user);
        let status = match context.server.authorizer().authorize(&asked) {
            Decision::Allow => json!({"allowed": true}),
            Decision::Deny(reason) => json!({"allowed": false, "denied": true, "reason": reason}),
            Decision::NoOpinion(reason) if reason.is_empty() => json!({"allowed": false}),
            Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason}),
        };
        value::set(&mut object, &["status"], status);
        answer(&headers, object, &format!("{AUTHORIZATION}/v1"), kind)
    }
}

impl AccessReviews {
    fn check(&self, spec: &Value, kind: &str, namespace: &str) -> Result<(), ApiError> {
        let mut errors = FieldErrors::new();
        let path = FieldPath::new("spec");
        let (resource, other) = (spec.get("resourceAttributes"), spec.get("nonResourceAttributes"));
        if resource.is_some() && other.is_some() {
            errors.invalid(
                &path.child("nonResourceAttributes"),
                "spec.nonResourceAttributes",
                "cannot be specified in combination with resourceAttributes",
            );
        }
        if resource.is_none() && other.is_none() {
            errors.invalid(
                &path.child("resourceAttributes"),
                "spec.resourceAttributes",
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            );
        }
        if !self.own && value::text(spec, &["user"]).is_empty() && value::items(spec, &["groups"]).is_empty() {
            errors.invalid(&path.child("user"), "", "at least one of user or group must be specified");
        }
        if kind == "LocalSubjectAccessReview" && value::text(spec, &["resourceAttributes", "namespace"]) != namespace {
            errors.invalid(
                &path.child("resourceAttributes").child("namespace"),
                value::text(spec, &["resourceAttributes", "namespace"]),
                "must match metadata.namespace",
            );
        }
        if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(&GroupKind::new(AUTHORIZATION, kind), "", &errors)) }
    }
}

fn user(spec: &Value) -> User {
    let texts = |v: &Value| v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect::<Vec<_>>();
    let extra = spec.get("extra").and_then(Value::as_object);
    User {
        name: value::text(spec, &["user"]).into(),
        uid: value::text(spec, &["uid"]).into(),
        groups: spec.get("groups").map(texts).unwrap_or_default(),
        extra: extra.into_iter().flatten().map(|(k, v)| (k.to_lowercase(), texts(v))).collect(),
    }
}

fn attributes(spec: &Value, user: Arc<User>) -> Attributes {
    let about = spec.get("resourceAttributes").or_else(|| spec.get("nonResourceAttributes")).unwrap_or(&Value::Null);
    let text = |f: &str| value::text(about, &[f]).to_string();
    Attributes {
        user,
        verb: text("verb"),
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: text("path"),
        is_resource: spec.get("resourceAttributes").is_some(),
        named: !value::text(about, &["name"]).is_empty(),
        field_selector: value::text(about, &["fieldSelector", "rawSelector"]).into(),
        label_selector: value::text(about, &["labelSelector", "rawSelector"]).into(),
        ..Attributes::default()
    }
}

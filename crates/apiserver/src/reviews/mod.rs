//! Questions to authentication and authorization: answered, never stored.

mod access;
mod node_token;
mod rules;
mod selectors;
mod token;

use crate::auth::bootstrap_tokens::BootstrapTokens;
use crate::auth::rbac::Rbac;
use crate::auth::tokens::Tokens;
use crate::body::{self, Body};
use crate::handlers::{Context, Handler, Handlers};
use crate::negotiate;
use crate::query::Query;
use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use meta::{ApiError, time, value};
use serde_json::{Value, json};
use std::sync::Arc;

pub use token::TokenRequests;

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Enters all reviews and `serviceaccounts/token`.
pub fn register(handlers: &mut Handlers, tokens: Arc<Tokens>, bootstrap: BootstrapTokens, rbac: Rbac) {
    handlers.on(AUTHENTICATION, "tokenreviews", "", Arc::new(token::TokenReviews(tokens.clone(), bootstrap)));
    handlers.on(AUTHENTICATION, "selfsubjectreviews", "", Arc::new(SelfSubjectReviews));
    for (resource, own) in [("subjectaccessreviews", false), ("localsubjectaccessreviews", false), ("selfsubjectaccessreviews", true)] {
        handlers.on(AUTHORIZATION, resource, "", Arc::new(access::AccessReviews { own }));
    }
    handlers.on(AUTHORIZATION, "selfsubjectrulesreviews", "", Arc::new(rules::RulesReviews(rbac)));
    handlers.on("", "serviceaccounts", "token", Arc::new(TokenRequests(tokens)));
}

/// The object of the request's body.
async fn read(request: Request<Body>) -> Result<(Value, HeaderMap), ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(body).await?;
    let (object, _) = negotiate::decode(parts.headers.get(CONTENT_TYPE), &bytes)?;
    if !object.is_object() {
        return Err(ApiError::bad_request("the body of the request is not an object"));
    }
    Ok((object, parts.headers))
}

/// In the form that the client takes.
fn answer(headers: &HeaderMap, mut object: Value, api_version: &str, kind: &str) -> Result<Response<Body>, ApiError> {
    value::set(&mut object, &["apiVersion"], api_version);
    value::set(&mut object, &["kind"], kind);
    value::object(&mut object, &["metadata"]);
    Ok(negotiate::output(headers, &Query::default(), false)?.respond(StatusCode::CREATED, &object))
}

fn user_info(user: &crate::user::User) -> Value {
    let mut out = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        out["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        out["extra"] = json!(user.extra);
    }
    out
}

struct SelfSubjectReviews;

#[async_trait]
impl Handler for SelfSubjectReviews {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (mut object, headers) = read(request).await?;
        value::set(&mut object, &["status"], json!({"userInfo": user_info(&context.attributes.user)}));
        value::set(&mut object, &["metadata", "creationTimestamp"], time::now());
        answer(&headers, object, &format!("{AUTHENTICATION}/{}", context.attributes.version), "SelfSubjectReview")
    }
}

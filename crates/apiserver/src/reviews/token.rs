//! Tokens: made for service accounts, and judged.

use super::{AUTHENTICATION, answer, node_token, read, user_info};
use crate::auth::bootstrap_tokens::BootstrapTokens;
use crate::auth::node;
use crate::auth::tokens::{Subject, Tokens};
use crate::body::Body;
use crate::handlers::{Context, Handler};
use crate::objects::Object;
use crate::user::User;
use async_trait::async_trait;
use http::{Request, Response};
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, GroupResource, time, value};
use serde_json::{Value, json};
use std::sync::Arc;

const HOUR: i64 = 3600;
const LEAST: i64 = 600;
const MOST: i64 = 1 << 32;
/// A token lives for a day at most.
const MOST_GIVEN: i64 = 24 * HOUR;

fn texts(of: &Value, path: &[&str]) -> Vec<String> {
    value::items(of, path).iter().filter_map(Value::as_str).map(str::to_string).collect()
}

pub struct TokenReviews(pub Arc<Tokens>, pub BootstrapTokens);

#[async_trait]
impl Handler for TokenReviews {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (mut object, headers) = read(request).await?;
        let token = value::text(&object, &["spec", "token"]).to_string();
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let mut audiences = texts(&object, &["spec", "audiences"]);
        if audiences.is_empty() {
            audiences = self.0.audiences().to_vec();
        }
        let good = |user: &User, audiences: &[String]| json!({"authenticated": true, "user": user_info(user), "audiences": audiences});
        // Bootstrap tokens are for this server and no other.
        let own: Vec<String> = audiences.iter().filter(|a| self.0.audiences().contains(a)).cloned().collect();
        let status = match (self.0.verify(&token, &audiences, &context.warnings), self.1.verify(&token)) {
            (Ok(Some((user, audiences))), _) => good(&user, &audiences),
            (_, Some(user)) if !own.is_empty() => good(&user, &own),
            (Err(reason), _) => json!({"user": {}, "error": format!("[invalid bearer token, {reason}]")}),
            _ => json!({"user": {}, "error": "invalid bearer token"}),
        };
        value::set(&mut object, &["status"], status);
        answer(&headers, object, &format!("{AUTHENTICATION}/v1"), "TokenReview")
    }
}

/// `serviceaccounts/token`.
pub struct TokenRequests(pub Arc<Tokens>);

#[async_trait]
impl Handler for TokenRequests {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        if context.attributes.verb != "create" {
            return Err(ApiError::method_not_supported(&GroupResource::new("", "serviceaccounts/token"), &context.attributes.verb));
        }
        let (mut object, headers) = read(request).await?;
        let (namespace, name) = (&context.attributes.namespace, &context.attributes.name);
        let objects = context.server.objects();
        let accounts = GroupResource::new("", "serviceaccounts");
        let account = objects.get(&accounts, namespace, name).ok_or_else(|| ApiError::not_found(&accounts, name))?;
        same(&object, &account, namespace, name)?;
        let mut seconds = value::int(&object, &["spec", "expirationSeconds"]).unwrap_or(HOUR);
        let mut errors = FieldErrors::new();
        let path = FieldPath::new("spec.expirationSeconds");
        if seconds < LEAST {
            errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
        } else if seconds > MOST {
            errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(&GroupKind::new(AUTHENTICATION, "TokenRequest"), "", &errors));
        }
        if seconds > MOST_GIVEN {
            context.warnings.add(format!("requested expiration of {seconds} seconds shortened to {MOST_GIVEN} seconds"));
            seconds = MOST_GIVEN;
        }
        let mut audiences = texts(&object, &["spec", "audiences"]);
        if audiences.is_empty() {
            audiences = self.0.audiences().to_vec();
        }
        let mut subject =
            Subject { namespace: namespace.clone(), account: name.clone(), account_uid: account.uid().into(), ..Subject::default() };
        bind(context, &object, &mut subject)?;
        let issued = self.0.issue(&subject, &audiences, seconds)?;
        value::set(&mut object, &["spec", "audiences"], json!(audiences));
        value::set(&mut object, &["spec", "expirationSeconds"], seconds);
        value::set(&mut object, &["metadata", "name"], name.as_str());
        value::set(&mut object, &["metadata", "namespace"], namespace.as_str());
        value::set(&mut object, &["metadata", "uid"], account.uid());
        value::set(&mut object, &["metadata", "creationTimestamp"], time::now());
        value::set(&mut object, &["status"], json!({"token": issued.token, "expirationTimestamp": time::format(issued.expires)}));
        answer(&headers, object, &format!("{AUTHENTICATION}/v1"), "TokenRequest")
    }
}

/// What the request says about its account is true.
fn same(request: &Value, account: &Object, namespace: &str, name: &str) -> Result<(), ApiError> {
    for (field, wanted) in [("name", name), ("namespace", namespace)] {
        let said = value::text(request, &["metadata", field]);
        if !said.is_empty() && said != wanted {
            let mut errors = FieldErrors::new();
            let what = if field == "name" { "name" } else { "namespace" };
            errors.invalid(&FieldPath::new("metadata").child(field), said, &format!("must match the service account {what} if specified"));
            return Err(ApiError::invalid(&GroupKind::new(AUTHENTICATION, "TokenRequest"), name, &errors));
        }
    }
    let uid = value::text(request, &["metadata", "uid"]);
    if !uid.is_empty() && uid != account.uid() {
        let why = format!("the UID in the token request ({uid}) does not match the UID of the service account ({})", account.uid());
        return Err(ApiError::conflict(&GroupResource::new(AUTHENTICATION, "TokenRequest"), name, &why));
    }
    Ok(())
}

fn bind(context: &Context, object: &Value, subject: &mut Subject) -> Result<(), ApiError> {
    let objects = context.server.objects();
    let reference = value::at(object, &["spec", "boundObjectRef"]).filter(|r| !r.is_null());
    if let Some(node) = node::identity(&context.attributes.user) {
        let name = reference.map(|r| value::text(r, &["name"])).unwrap_or_default();
        let pod = objects.get(&GroupResource::new("", "pods"), &subject.namespace, name).map(|p| p.value());
        if let Some(why) = node_token::refuses(context, node, object, pod.as_ref()) {
            return Err(ApiError::forbidden(&GroupResource::new("", "serviceaccounts"), &context.attributes.name, &why));
        }
    }
    let Some(reference) = reference else { return Ok(()) };
    let (kind, name, uid) = (value::text(reference, &["kind"]), value::text(reference, &["name"]), value::text(reference, &["uid"]));
    let (word, plural, namespace) = match kind {
        "Pod" => ("pod", "pods", subject.namespace.as_str()),
        "Secret" => ("secret", "secrets", subject.namespace.as_str()),
        "Node" => ("node", "nodes", ""),
        other => {
            let version = value::text(reference, &["apiVersion"]);
            return Err(ApiError::bad_request(format!("cannot bind token to object of type {version}, Kind={other}")));
        }
    };
    let resource = GroupResource::new("", plural);
    let bound = objects.get(&resource, namespace, name).ok_or_else(|| ApiError::not_found(&resource, name))?;
    if !uid.is_empty() && uid != bound.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(&resource, name, &why));
    }
    if word == "pod" {
        let pod = bound.value();
        if value::text(&pod, &["spec", "serviceAccountName"]) != subject.account {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                subject.account
            )));
        }
        let on = value::text(&pod, &["spec", "nodeName"]);
        if !on.is_empty() {
            let node = objects.get(&GroupResource::new("", "nodes"), "", on);
            subject.node = Some((on.to_string(), node.map(|n| n.uid().to_string()).unwrap_or_default()));
        }
    }
    subject.bound = Some((word, name.to_string(), bound.uid().to_string()));
    Ok(())
}

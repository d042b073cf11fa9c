//! Tokens: made for service accounts, and judged.

use super::{AUTHENTICATION, answer, read, user_info};
use crate::auth::node;
use crate::auth::tokens::{Subject, Tokens};
use crate::body::Body;
use crate::handlers::{Context, Handler};
use async_trait::async_trait;
use http::{Request, Response};
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, GroupResource, time, value};
use serde_json::{Value, json};
use std::sync::Arc;

const HOUR: i64 = 3600;
const LEAST: i64 = 600;
const MOST: i64 = 1 << 32;

fn texts(of: &Value, path: &[&str]) -> Vec<String> {
    value::items(of, path).iter().filter_map(Value::as_str).map(str::to_string).collect()
}

pub struct TokenReviews(pub Arc<Tokens>);

#[async_trait]
impl Handler for TokenReviews {
    async fn handle(&self, _: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (mut object, headers) = read(request).await?;
        let token = value::text(&object, &["spec", "token"]).to_string();
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let mut audiences = texts(&object, &["spec", "audiences"]);
        if audiences.is_empty() {
            audiences = self.0.audiences().to_vec();
        }
        let status = match self.0.verify(&token, &audiences) {
            Ok(Some((user, audiences))) => json!({"authenticated": true, "user": user_info(&user), "audiences": audiences}),
            Ok(None) => json!({"user": {}}),
            Err(reason) => json!({"user": {}, "error": reason}),
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
        let mut seconds = value::int(&object, &["spec", "expirationSeconds"]).unwrap_or(HOUR);
        let mut errors = FieldErrors::new();
        let path = FieldPath::new("spec.expirationSeconds");
        if seconds < LEAST {
            errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
        } else if seconds > MOST {
            errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(&GroupKind::new(AUTHENTICATION, "TokenRequest"), name, &errors));
        }
        // What is asked for stays in the answer; a token lives for a day at most.
        seconds = seconds.min(24 * HOUR);
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
        value::set(&mut object, &["metadata", "creationTimestamp"], time::now());
        value::set(&mut object, &["status"], json!({"token": issued.token, "expirationTimestamp": time::format(issued.expires)}));
        answer(&headers, object, &format!("{AUTHENTICATION}/v1"), "TokenRequest")
    }
}

fn bind(context: &Context, object: &Value, subject: &mut Subject) -> Result<(), ApiError> {
    let objects = context.server.objects();
    let reference = value::at(object, &["spec", "boundObjectRef"]).filter(|r| !r.is_null());
    let asking_node = node::identity(&context.attributes.user);
    let refused = |why: &str| ApiError::forbidden(&GroupResource::new("", "serviceaccounts"), &context.attributes.name, why);
    let Some(reference) = reference else {
        return asking_node.map_or(Ok(()), |_| Err(refused("node requested token not bound to a pod")));
    };
    let (kind, name, uid) = (value::text(reference, &["kind"]), value::text(reference, &["name"]), value::text(reference, &["uid"]));
    let (word, plural, namespace) = match kind {
        "Pod" => ("pod", "pods", subject.namespace.as_str()),
        "Secret" => ("secret", "secrets", subject.namespace.as_str()),
        "Node" => ("node", "nodes", ""),
        other => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to object of type {other:?}",
                subject.account
            )));
        }
    };
    if asking_node.is_some() && word != "pod" {
        return Err(refused("node requested token not bound to a pod"));
    }
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
        if asking_node.is_some_and(|n| n != on) {
            return Err(refused("node requested token bound to a pod scheduled on a different node"));
        }
        if !on.is_empty() {
            let node = objects.get(&GroupResource::new("", "nodes"), "", on);
            subject.node = Some((on.to_string(), node.map(|n| n.uid().to_string()).unwrap_or_default()));
        }
    }
    subject.bound = Some((word, name.to_string(), bound.uid().to_string()));
    Ok(())
}

//! What may I do here? (`kubectl auth can-i --list`)

use super::{AUTHORIZATION, answer, read};
use crate::auth::node;
use crate::auth::rbac::{Rbac, Rule};
use crate::body::Body;
use crate::handlers::{Context, Handler};
use async_trait::async_trait;
use http::{Request, Response};
use meta::{ApiError, value};
use serde_json::{Value, json};

pub struct RulesReviews(pub Rbac);

#[async_trait]
impl Handler for RulesReviews {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let (mut object, headers) = read(request).await?;
        let namespace = value::text(&object, &["spec", "namespace"]).to_string();
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        let rules = self.0.rules(&context.attributes.user, &namespace);
        let (other, resources): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|r| !r.paths.is_empty());
        let resource = |r: &&Rule| {
            let mut rule = json!({"verbs": r.verbs, "apiGroups": r.groups, "resources": r.resources});
            if !r.names.is_empty() {
                rule["resourceNames"] = json!(r.names);
            }
            rule
        };
        let mut status = json!({
            "resourceRules": resources.iter().map(resource).collect::<Vec<Value>>(),
            "nonResourceRules": other.iter().map(|r| json!({"verbs": r.verbs, "nonResourceURLs": r.paths})).collect::<Vec<Value>>(),
            "incomplete": false,
        });
        if node::identity(&context.attributes.user).is_some() {
            status["incomplete"] = true.into();
            status["evaluationError"] = "node authorizer does not support user rule resolution".into();
        }
        value::set(&mut object, &["status"], status);
        answer(&headers, object, &format!("{AUTHORIZATION}/v1"), "SelfSubjectRulesReview")
    }
}

//! Nobody grants what he does not hold, unless he may `escalate` or `bind`.

use super::{Acts, Operation, Plugin, Request};
use crate::attributes::Attributes;
use crate::auth::rbac::{GROUP, Rbac, Rule, missing};
use crate::authorizer::Decision;
use async_trait::async_trait;
use meta::{ApiError, value};
use serde_json::Value;

pub struct Escalation;

#[async_trait]
impl Plugin for Escalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let gr = &request.resource.group_resource;
        let kind = gr.resource.as_str();
        if gr.group != GROUP
            || !matches!(request.operation, Operation::Create | Operation::Update)
            || request.attributes.user.in_group("system:masters")
        {
            return Ok(());
        }
        let old = old.filter(|_| request.operation == Operation::Update);
        let role = matches!(kind, "roles" | "clusterroles");
        let same = |fields: &[&str]| old.is_some_and(|o| fields.iter().all(|f| o.get(*f) == object.get(*f)));
        if same(if role { &["rules", "aggregationRule"] } else { &["subjects", "roleRef"] }) {
            return Ok(());
        }
        let namespace = request.attributes.namespace.as_str();
        let may = |verb: &str, resource: &str, name: &str| {
            let asked = Attributes {
                verb: verb.into(),
                group: GROUP.into(),
                resource: resource.into(),
                name: name.into(),
                subresource: String::new(),
                ..request.attributes.clone()
            };
            request.server.authorizer().authorize(&asked) == Decision::Allow
        };
        let rbac = Rbac::snapshot(&*request.server.objects());
        let wanted = if role {
            if may("escalate", kind, request.name) {
                return Ok(());
            }
            // Aggregation takes in roles that are not known yet.
            let any = || vec!["*".to_string()];
            if object.get("aggregationRule").is_some_and(|a| !a.is_null()) {
                vec![
                    Rule { verbs: any(), groups: any(), resources: any(), ..Rule::default() },
                    Rule { verbs: any(), paths: any(), ..Rule::default() },
                ]
            } else {
                Rule::all(object)
            }
        } else {
            let cluster = value::text(object, &["roleRef", "kind"]) == "ClusterRole";
            let name = value::text(object, &["roleRef", "name"]);
            if may("bind", if cluster { "clusterroles" } else { "roles" }, name) {
                return Ok(());
            }
            let found = rbac.role(cluster, namespace, name);
            let resource = meta::GroupResource::new(GROUP, if cluster { "clusterroles" } else { "roles" });
            found.ok_or_else(|| ApiError::not_found(&resource, name))?
        };
        let lacking = missing(&rbac.rules(&request.attributes.user, namespace), &wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        let user = &request.attributes.user;
        let list: Vec<String> =
            lacking.iter().map(|r| format!("{{APIGroups:{:?}, Resources:{:?}, Verbs:{:?}}}", r.groups, r.resources, r.verbs)).collect();
        Err(request.forbidden(format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            user.groups,
            list.join("\n")
        )))
    }
}

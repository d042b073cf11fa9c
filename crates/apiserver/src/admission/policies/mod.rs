//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`: rules in expressions, where their bindings say.

mod mutating;
mod mutation;
mod params;
mod policy;
mod type_check;
mod validating;

pub use mutating::MutatingPolicies;
pub use type_check::run as check_types;
pub use validating::ValidatingPolicies;

use super::Request;
use super::expressions::Seen;
use super::matching::{Asked, Match};
use super::versions;
use meta::{ApiError, value};
use policy::{Binding, Policy};
use serde_json::Value;
use std::sync::Arc;

/// What these could break the cluster with, or lock everybody out of themselves with.
fn excluded(request: &Request<'_>) -> bool {
    const REVIEWS: [&str; 6] = [
        "selfsubjectreviews",
        "tokenreviews",
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
    ];
    let resource = &request.resource.group_resource;
    let reviews = matches!(resource.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io");
    request.kind.group == "admissionregistration.k8s.io" || (reviews && REVIEWS.contains(&resource.resource.as_str()))
}

/// A policy that is about a request, by one of its bindings.
struct Invocation {
    policy: Arc<Policy>,
    binding: Arc<Binding>,
    found: Match,
    params: Vec<Option<Value>>,
}

/// Why a policy or binding cannot be used at all.
struct Misconfigured {
    policy: Arc<Policy>,
    binding: Option<Arc<Binding>>,
    message: String,
}

/// All policies that apply, and those that should and cannot.
async fn invocations(
    policies: &[(Arc<Policy>, Vec<Arc<Binding>>)],
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> (Vec<Invocation>, Vec<Misconfigured>) {
    let (mut invocations, mut wrong) = (Vec::new(), Vec::new());
    let asked = Asked::new(request, object, old);
    for (policy, bindings) in policies.iter().filter(|(_, bindings)| !bindings.is_empty()) {
        let found = match asked.matches(&policy.criteria) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                let message = format!("failed to configure policy: {}", error.message);
                wrong.push(Misconfigured { policy: policy.clone(), binding: None, message });
                continue;
            }
        };
        for binding in bindings {
            let params = match asked.matches(&binding.criteria) {
                Ok(Some(_)) => params::collect(request, policy, binding).await,
                Ok(None) => continue,
                Err(error) => Err(error.message),
            };
            match params {
                Ok(params) => {
                    invocations.push(Invocation { policy: policy.clone(), binding: binding.clone(), found: found.clone(), params });
                }
                Err(why) => {
                    let message = format!("failed to configure binding: {why}");
                    wrong.push(Misconfigured { policy: policy.clone(), binding: Some(binding.clone()), message });
                }
            }
        }
    }
    (invocations, wrong)
}

/// The object in the version that a policy matched.
struct Versioned {
    seen: Seen,
    object: Option<Value>,
    old: Option<Value>,
}

impl Versioned {
    async fn of(request: &Request<'_>, found: &Match, object: &Value, old: Option<&Value>) -> Result<Self, ApiError> {
        let asked = Asked::new(request, object, old);
        let object = versions::to(request, found, asked.object.cloned()).await?;
        let old = versions::to(request, found, old.cloned()).await?;
        Ok(Self { seen: Seen::new(request, found), object, old })
    }
}

/// A 403 about the request's object.
fn forbidden(request: &Request<'_>, object: &Value, why: &str) -> ApiError {
    let name = [request.given_name(), value::text(object, &["metadata", "name"]), value::text(object, &["metadata", "generateName"])];
    let name = name.into_iter().find(|n| !n.is_empty()).unwrap_or("Unknown");
    ApiError::forbidden(&request.resource.group_resource, name, why)
}

//! Acting in another's name, for those who may (`kubectl --as`).

use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::chain;
use crate::query;
use crate::server::ApiServer;
use crate::user::User;
use http::HeaderMap;
use meta::ApiError;
use std::sync::Arc;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The user that the request acts as.
pub fn effective(server: &ApiServer, user: Arc<User>, headers: &HeaderMap) -> Result<Arc<User>, ApiError> {
    let one = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let mut wanted = User { name: one(USER), uid: one(UID), ..User::default() };
    wanted.groups = headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).map(str::to_string).collect();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            wanted.extra.entry(query::decode(key, false)).or_default().push(value.to_string());
        }
    }
    if wanted == User::default() {
        return Ok(user);
    }
    if wanted.name.is_empty() {
        return Err(ApiError::internal("requested impersonation of a group, uid or extra without impersonating a user"));
    }
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            user: user.clone(),
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            is_resource: true,
            named: true,
            ..Attributes::default()
        };
        match server.authorizer().authorize(&attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(chain::refusal(&attributes, &reason)),
        }
    };
    let account = wanted.name.strip_prefix(SERVICE_ACCOUNT).and_then(|a| a.split_once(':'));
    match account {
        Some((namespace, name)) => may("", "serviceaccounts", "", namespace, name)?,
        None => may("", "users", "", "", &wanted.name)?,
    }
    for group in &wanted.groups {
        may("", "groups", "", "", group)?;
    }
    if !wanted.uid.is_empty() {
        may("authentication.k8s.io", "uids", "", "", &wanted.uid)?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            may("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    if let (Some((namespace, _)), true) = (account, wanted.groups.is_empty()) {
        wanted.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let implied = if wanted.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !wanted.groups.iter().any(|g| g == "system:authenticated" || g == "system:unauthenticated") {
        wanted.groups.push(implied.into());
    }
    Ok(Arc::new(wanted))
}

//! Acting in another's name, for those who may (`kubectl --as`). First in the ways that allow it for certain requests
//! and certain kinds of users only (verbs `impersonate-on:<mode>:<verb>` and `impersonate:<mode>`), then, as it always
//! was, for everything (verb `impersonate`).

use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::chain;
use crate::query;
use crate::server::ApiServer;
use crate::user::User;
use http::HeaderMap;
use meta::{ApiError, validate};
use std::sync::Arc;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";
const AUTHENTICATION: &str = "authentication.k8s.io";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A service account acts as the node that its pod is on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    /// Without regard to what is asked for.
    Legacy,
}

const MODES: [Mode; 5] = [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::ServiceAccount, Mode::UserInfo, Mode::Legacy];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    fn verb(self) -> String {
        if self == Self::Legacy { "impersonate".into() } else { format!("impersonate:{}", self.name()) }
    }

    /// Whether this way is meant for that user.
    fn fits(self, wanted: &User, requestor: &User) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        match self {
            Self::AssociatedNode => {
                let on = requestor.extra.get("authentication.kubernetes.io/node-name").map(Vec::as_slice);
                only_name
                    && account(&requestor.name).is_some()
                    && node(&wanted.name).is_some_and(|n| matches!(on, Some([only]) if only == n))
            }
            Self::ArbitraryNode => only_name && node(&wanted.name).is_some(),
            Self::ServiceAccount => only_name && account(&wanted.name).is_some(),
            Self::UserInfo => node(&wanted.name).is_none() && account(&wanted.name).is_none(),
            Self::Legacy => true,
        }
    }
}

fn node(name: &str) -> Option<&str> {
    name.strip_prefix(NODE).filter(|n| validate::dns_subdomain(n, false).is_empty())
}

fn account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    let valid = validate::dns_label(namespace, false).is_empty() && validate::dns_subdomain(name, false).is_empty();
    valid.then_some((namespace, name))
}

/// The user that the request acts as. `asked` is the request, in the name of whoever really makes it.
pub fn effective(server: &ApiServer, asked: &Attributes, headers: &HeaderMap) -> Result<Arc<User>, ApiError> {
    let Some(wanted) = wanted(headers)? else { return Ok(asked.user.clone()) };
    let mut refused = None;
    for mode in MODES.into_iter().filter(|m| m.fits(&wanted, &asked.user)) {
        match (Check { server, asked, mode }).user(&wanted) {
            Ok(user) => return Ok(Arc::new(user)),
            // The way that fits best says why not.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| ApiError::internal("all impersonation modes failed")))
}

fn wanted(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let one = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let mut wanted = User { name: one(USER), uid: one(UID), ..User::default() };
    wanted.groups = headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).map(str::to_string).collect();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            wanted.extra.entry(query::decode(key, false)).or_default().push(value.to_string());
        }
    }
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == User::default() {
        return Ok(None);
    }
    Err(ApiError::bad_request("requested impersonation of a uid, groups or extra without impersonating a user name"))
}

struct Check<'a> {
    server: &'a ApiServer,
    asked: &'a Attributes,
    mode: Mode,
}

impl Check<'_> {
    fn user(&self, wanted: &User) -> Result<User, ApiError> {
        let mode = self.mode;
        let constrained = mode != Mode::Legacy;
        if constrained {
            let verb = format!("impersonate-on:{}:{}", mode.name(), self.asked.verb);
            self.authorize(Attributes { user: self.requestor(), verb, ..self.asked.clone() })?;
        }
        let mut user = wanted.clone();
        let group = if constrained { AUTHENTICATION } else { "" };
        match (account(&wanted.name), node(&wanted.name).filter(|_| constrained)) {
            (Some((namespace, name)), _) => {
                self.may(group, "serviceaccounts", "", namespace, name)?;
                if wanted.groups.is_empty() {
                    user.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
                }
            }
            (None, Some(node)) => {
                // Rights to act as one's own node are for whichever node that is.
                self.may(group, "nodes", "", "", if mode == Mode::AssociatedNode { "*" } else { node })?;
                user.groups = vec!["system:nodes".into()];
            }
            (None, None) => self.may(group, "users", "", "", &wanted.name)?,
        }
        if !wanted.uid.is_empty() {
            self.may(AUTHENTICATION, "uids", "", "", &wanted.uid)?;
        }
        for name in &wanted.groups {
            self.may(group, "groups", "", "", name)?;
        }
        for (key, values) in &wanted.extra {
            for value in values {
                self.may(AUTHENTICATION, "userextras", key, "", value)?;
            }
        }
        let unauthenticated = "system:unauthenticated";
        if user.name == "system:anonymous" {
            if !user.in_group(unauthenticated) {
                user.groups.push(unauthenticated.into());
            }
        } else if !user.in_group(unauthenticated) && !user.in_group("system:authenticated") {
            user.groups.push("system:authenticated".into());
        }
        Ok(user)
    }

    fn requestor(&self) -> Arc<User> {
        if self.mode != Mode::AssociatedNode {
            return self.asked.user.clone();
        }
        let mut user = (*self.asked.user).clone();
        let keys = user.extra.keys().cloned().collect();
        user.extra = [("authentication.kubernetes.io/associated-node-keys".to_string(), keys)].into();
        Arc::new(user)
    }

    fn may(&self, group: &str, resource: &str, subresource: &str, namespace: &str, name: &str) -> Result<(), ApiError> {
        self.authorize(Attributes {
            user: self.requestor(),
            verb: self.mode.verb(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            is_resource: true,
            named: true,
            ..Attributes::default()
        })
    }

    fn authorize(&self, attributes: Attributes) -> Result<(), ApiError> {
        match self.server.authorizer().authorize(&attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(chain::refusal(&attributes, &reason)),
        }
    }
}

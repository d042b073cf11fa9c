//! The objects that a binding parameterizes its policy with.

use super::super::Request;
use super::policy::{Binding, Policy};
use crate::catalog::Resource;
use crate::conversion;
use crate::objects::Object;
use crate::verbs::view;
use meta::{GroupVersion, value};
use serde_json::Value;
use std::sync::Arc;

/// One of none, where the policy has no parameters.
pub async fn collect(request: &Request<'_>, policy: &Policy, binding: &Binding) -> Result<Vec<Option<Value>>, String> {
    let (Some((api_version, kind)), Some(param)) = (&policy.param_kind, &binding.param) else { return Ok(vec![None]) };
    let version = GroupVersion::parse(api_version);
    let resource = request.server.catalog().by_kind(&version.group, &version.version, kind);
    let unknown = || format!("paramKind kind `&ParamKind{{APIVersion:{api_version},Kind:{kind},}}` not known");
    let resource = resource.ok_or_else(unknown)?;
    let cache = resource.cache.as_ref().ok_or_else(unknown)?;
    let namespace = match (resource.namespaced(), param.namespace.as_str(), request.effective_namespace()) {
        (false, "", _) => "",
        (false, _, _) => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into()),
        (true, "", "") => return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into()),
        (true, "", own) => own,
        (true, given, _) => given,
    };
    let found: Vec<Arc<Object>> = match &param.selector {
        _ if !param.name.is_empty() => cache.get(namespace, &param.name).into_iter().collect(),
        Some(selector) => {
            let all = cache.list(resource.namespaced().then_some(namespace));
            all.into_iter().filter(|o| selector.matches(|key| o.label(key))).collect()
        }
        None => return Err("one of name or selector must be provided".into()),
    };
    if found.is_empty() && param.denies_if_missing {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    read(&resource, found).await
}

async fn read(resource: &Resource, found: Vec<Arc<Object>>) -> Result<Vec<Option<Value>>, String> {
    let found = conversion::read(resource, found).await.map_err(|e| e.message)?;
    let params = found.iter().map(|object| {
        let mut param = view::served(resource, &object.bytes);
        value::default(&mut param, &["apiVersion"], resource.api_version.as_str());
        Some(param)
    });
    Ok(params.collect())
}

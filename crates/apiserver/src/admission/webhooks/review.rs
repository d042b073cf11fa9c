//! `AdmissionReview`, both ways.

use super::super::Request;
use super::super::matching::Match;
use super::Shown;
use crate::user::User;
use meta::{ApiError, value};
use serde_json::{Map, Value, json};

pub fn request(uid: &str, version: &str, request: &Request<'_>, found: &Match, shown: &Shown) -> Value {
    let resource = |r: &crate::catalog::Resource| {
        let names = r.kind.names();
        json!({"group": names.group, "version": names.version, "resource": names.plural})
    };
    let kind = |k: &meta::GroupVersionKind| json!({"group": k.group, "version": k.version, "kind": k.kind});
    let mut asked = json!({
        "uid": uid,
        "kind": kind(&found.kind), "resource": resource(&found.resource),
        "requestKind": kind(&request.kind), "requestResource": resource(request.resource),
        "operation": request.operation.as_str(),
        "userInfo": user(&request.attributes.user),
        "object": shown.object, "oldObject": shown.old,
        "dryRun": request.dry_run, "options": request.shown_options(),
    });
    let sub = request.attributes.subresource.as_str();
    for (key, text) in
        [("subResource", sub), ("requestSubResource", sub), ("name", request.given_name()), ("namespace", request.effective_namespace())]
    {
        if !text.is_empty() {
            asked[key] = text.into();
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": asked})
}

/// Empty parts are left out.
pub fn user(user: &User) -> Value {
    let mut told = Map::new();
    for (key, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            told.insert(key.into(), text.as_str().into());
        }
    }
    if !user.groups.is_empty() {
        told.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        told.insert("extra".into(), json!(user.extra));
    }
    Value::Object(told)
}

#[derive(Debug, Default)]
pub struct Response {
    pub allowed: bool,
    pub patch: Option<Value>,
    pub result: Option<Value>,
    pub annotations: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// What a webhook answers, or why that is no answer.
pub fn response(review: &Value, version: &str, uid: &str, mutating: bool) -> Result<Response, String> {
    let invalid = |why: String| Err(format!("received invalid webhook response: {why}"));
    let strict = version == "v1";
    let Some(given) = review.get("response").filter(|r| r.is_object()) else {
        return invalid("webhook response was absent".into());
    };
    if strict {
        let answered = value::text(given, &["uid"]);
        if answered != uid {
            return invalid(format!("expected response.uid={uid:?}, got {answered:?}"));
        }
        let (api_version, kind) = (value::text(review, &["apiVersion"]), value::text(review, &["kind"]));
        if api_version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
            let expected = "admission.k8s.io/v1, Kind=AdmissionReview";
            return invalid(format!("expected webhook response of {expected}, got {api_version}, Kind={kind}"));
        }
    }
    let patch = value::text(given, &["patch"]);
    let patch_type = given.get("patchType").and_then(Value::as_str);
    if strict && !mutating && !patch.is_empty() {
        return invalid("validating webhook may not return response.patch".into());
    }
    if strict && !mutating && patch_type.is_some() {
        return invalid("validating webhook may not return response.patchType".into());
    }
    if strict && mutating {
        match (patch.is_empty(), patch_type) {
            (false, None) => return invalid("webhook returned response.patch but not response.patchType".into()),
            (true, Some(_)) => return invalid("webhook returned response.patchType but not response.patch".into()),
            (false, Some("")) => return invalid("webhook returned invalid response.patchType of \"\"".into()),
            (false, Some(other)) if other != "JSONPatch" => return Err(format!("unsupported patch type {other:?}")),
            _ => {}
        }
    }
    let patch = if mutating && !patch.is_empty() { Some(decode(patch)?) } else { None };
    let pairs = given.get("auditAnnotations").and_then(Value::as_object).into_iter().flatten();
    Ok(Response {
        allowed: value::flag(given, &["allowed"]),
        patch,
        result: given.get("status").filter(|s| s.is_object()).cloned(),
        annotations: pairs.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_string())).collect(),
        warnings: value::items(given, &["warnings"]).iter().filter_map(|w| w.as_str().map(str::to_string)).collect(),
    })
}

fn decode(patch: &str) -> Result<Value, String> {
    use base64::Engine;
    let undecodable = |why: String| format!("received undecodable patch in webhook response: {why}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(patch).map_err(|e| undecodable(e.to_string()))?;
    let patch: Value = serde_json::from_slice(&bytes).map_err(|e| undecodable(e.to_string()))?;
    if patch.is_array() || patch.is_null() { Ok(patch) } else { Err(undecodable("a JSON patch is a list of operations".into())) }
}

/// What the client is told of a webhook's no.
pub fn denial(webhook: &str, status: Option<&Value>) -> ApiError {
    let mut error = status.map_or_else(|| ApiError::new(0, "", ""), ApiError::from_status);
    if error.code < 400 {
        error.code = 400;
    }
    let by = format!("admission webhook {webhook:?} denied the request");
    error.message = match (error.message.as_str(), &*error.reason) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    error
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;

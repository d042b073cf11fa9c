//! Brings the RBAC objects that come with the server up to date: what they lack is added, what an
//! administrator added stays. Objects whose autoupdate annotation says "false" are left alone.

use super::AUTOUPDATE;
use crate::auth::rbac::{GROUP, Rule, missing};
use crate::server::ApiServer;
use meta::{ApiError, GroupResource, value};
use serde_json::{Value, json};

fn plural(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "Role" => "roles",
        "RoleBinding" => "rolebindings",
        _ => return None,
    })
}

/// None for objects that are not looked after.
pub fn resource(object: &Value) -> Option<GroupResource> {
    (value::text(object, &["apiVersion"]) == format!("{GROUP}/v1")).then_some(())?;
    plural(value::text(object, &["kind"])).map(|p| GroupResource::new(GROUP, p))
}

pub async fn reconcile(server: &ApiServer, resource: &GroupResource, wanted: &Value) -> Result<(), ApiError> {
    let (namespace, name) = (value::text(wanted, &["metadata", "namespace"]), value::text(wanted, &["metadata", "name"]));
    let Some(there) = server.objects().get(resource, namespace, name) else { return Ok(()) };
    let there = there.value();
    let Some(merged) = merge(&there, wanted) else { return Ok(()) };
    if there.get("roleRef") == merged.get("roleRef") {
        let change = |object: &mut Value| {
            if let Some(merged) = merge(object, wanted) {
                *object = merged;
            }
            Ok(())
        };
        return server.update_object(resource, namespace, name, change).await.map(drop);
    }
    // What a binding is to cannot change: it is made anew.
    tracing::warn!(binding = name, "a binding that comes with the server led to another role and is made anew");
    server.delete_object(resource, namespace, name, Some(value::text(&there, &["metadata", "uid"])), None).await?;
    server.create_object(resource, wanted.clone()).await.map(drop)
}

/// `there` with what it lacks of `wanted`; none when nothing is to be done.
fn merge(there: &Value, wanted: &Value) -> Option<Value> {
    if value::text(there, &["metadata", "annotations", AUTOUPDATE]) == "false" {
        return None;
    }
    let mut out = there.clone();
    for field in ["labels", "annotations"] {
        for (key, text) in value::at(wanted, &["metadata", field]).and_then(Value::as_object).into_iter().flatten() {
            value::default(&mut out, &["metadata", field, key], text.clone());
        }
    }
    match wanted.get("aggregationRule") {
        // The rules of such a role are its parts'.
        Some(rule) => {
            let lacking: Vec<Value> = lacking(&out, rule, &["aggregationRule", "clusterRoleSelectors"], &["clusterRoleSelectors"]);
            extend(&mut out, &["aggregationRule", "clusterRoleSelectors"], lacking);
        }
        None if wanted.get("roleRef").is_some() => {
            let subjects = lacking(&out, wanted, &["subjects"], &["subjects"]);
            extend(&mut out, &["subjects"], subjects);
            value::carry(&mut out, wanted, &["roleRef"]);
        }
        None => {
            let held = Rule::all(&out);
            let more = value::items(wanted, &["rules"]).iter().filter(|r| !missing(&held, &[Rule::of(r)]).is_empty()).cloned().collect();
            extend(&mut out, &["rules"], more);
        }
    }
    (out != *there).then_some(out)
}

fn lacking(there: &Value, wanted: &Value, mine: &[&str], theirs: &[&str]) -> Vec<Value> {
    value::items(wanted, theirs).iter().filter(|w| !value::items(there, mine).contains(w)).cloned().collect()
}

fn extend(object: &mut Value, path: &[&str], more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    let mut all = value::items(object, path).to_vec();
    all.extend(more);
    value::set(object, path, json!(all));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_added_and_what_was_added_stays() {
        let rule = |verb: &str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        let wanted = json!({"metadata": {"annotations": {AUTOUPDATE: "true"}}, "rules": [rule("get"), rule("list")]});
        let there = json!({"metadata": {"labels": {"own": "1"}}, "rules": [rule("get"), rule("delete")]});
        let merged = merge(&there, &wanted).unwrap();
        assert_eq!(merged["rules"], json!([rule("get"), rule("delete"), rule("list")]));
        assert_eq!(merged["metadata"], json!({"labels": {"own": "1"}, "annotations": {AUTOUPDATE: "true"}}));
        assert_eq!(merge(&merged, &wanted), None);
        let left = json!({"metadata": {"annotations": {AUTOUPDATE: "false"}}, "rules": []});
        assert_eq!(merge(&left, &wanted), None);
    }
}

//! Which names a definition gets: those it asks for, unless another of its group has them.

use crate::conditions;
use meta::value;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Sets `status.acceptedNames` and the conditions that tell of them. `others` are the other definitions of its group.
pub fn settle(definition: &mut Value, others: &[&Value], now: &str) {
    let mut resources = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for other in others {
        let names = &other["status"]["acceptedNames"];
        resources.extend(["plural", "singular"].iter().filter_map(|key| names[*key].as_str()).filter(|n| !n.is_empty()));
        resources.extend(value::items(names, &["shortNames"]).iter().filter_map(Value::as_str));
        kinds.extend(["kind", "listKind"].iter().filter_map(|key| names[*key].as_str()).filter(|n| !n.is_empty()));
    }
    let wanted = definition["spec"]["names"].clone();
    let mut accepted = definition["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({});
    }
    let mut conflict: Option<(&str, String)> = None;
    for (key, taken, reason) in [
        ("plural", &resources, "PluralConflict"),
        ("singular", &resources, "SingularConflict"),
        ("kind", &kinds, "KindConflict"),
        ("listKind", &kinds, "ListKindConflict"),
    ] {
        let name = value::text(&wanted, &[key]);
        if name != value::text(&accepted, &[key]) && taken.contains(name) {
            conflict = Some((reason, format!("{} is already in use", Value::from(name))));
        } else {
            accepted[key] = name.into();
        }
    }
    let short = value::items(&wanted, &["shortNames"]);
    let before = value::items(&accepted, &["shortNames"]).to_vec();
    let taken: Vec<String> = short
        .iter()
        .filter(|name| !before.contains(name))
        .filter_map(Value::as_str)
        .filter(|name| resources.contains(name))
        .map(|name| format!("{} is already in use", Value::from(name)))
        .collect();
    if taken.is_empty() {
        carry(&mut accepted, &wanted, "shortNames");
    } else {
        let text = if taken.len() == 1 { taken[0].clone() } else { format!("[{}]", taken.join(", ")) };
        conflict = Some(("ShortNamesConflict", text));
    }
    carry(&mut accepted, &wanted, "categories");
    value::set(definition, &["status", "acceptedNames"], accepted);
    match &conflict {
        Some((reason, message)) => condition(definition, "NamesAccepted", "False", reason, message, now),
        None => condition(definition, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
    }
    approval(definition, now);
    let established = is_true(definition, "Established");
    match conflict {
        // Once established, a definition stays that under the names it has.
        _ if established => {}
        Some(_) => condition(definition, "Established", "False", "NotAccepted", "not all names are accepted", now),
        None => condition(definition, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now),
    }
}

/// Groups of Kubernetes' own have to say who approved of their definitions.
fn approval(definition: &mut Value, now: &str) {
    let group = value::text(definition, &["spec", "group"]);
    if !["k8s.io", "kubernetes.io"].iter().any(|domain| group == *domain || group.ends_with(&format!(".{domain}"))) {
        return;
    }
    let given = value::text(definition, &["metadata", "annotations", "api-approved.kubernetes.io"]).to_string();
    let (status, reason, message) = match given.as_str() {
        "" => ("False", "MissingAnnotation", "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111".to_string()),
        text if text.starts_with("unapproved") => ("False", "UnapprovedAnnotation", format!("not approved: {text:?}")),
        text => ("True", "ApprovedAnnotation", format!("approved in {text}")),
    };
    condition(definition, "KubernetesAPIApprovalPolicyConformant", status, reason, &message, now);
}

fn carry(accepted: &mut Value, wanted: &Value, key: &str) {
    value::carry(accepted, wanted, &[key]);
}

pub fn is_true(definition: &Value, ty: &str) -> bool {
    value::items(definition, &["status", "conditions"]).iter().any(|c| c["type"] == ty && c["status"] == "True")
}

pub fn condition(definition: &mut Value, ty: &str, status: &str, reason: &str, message: &str, now: &str) {
    conditions::set(definition, json!({"type": ty, "status": status, "reason": reason, "message": message}), now);
}

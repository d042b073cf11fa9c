//! What the restricted level demands beyond baseline. Pods for Windows cannot set some of it.

use super::Found;
use super::baseline::{containers, named, text_list};
use meta::value;
use serde_json::Value;

const VOLUMES: [&str; 9] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];

pub fn check(pod: &Value, found: &mut Found) {
    let windows = value::text(pod, &["spec", "os", "name"]) == "windows";
    let in_user_namespace = value::at(pod, &["spec", "hostUsers"]).and_then(Value::as_bool) == Some(false);
    if !windows {
        let open = |c: &Value| value::at(c, &["securityContext", "allowPrivilegeEscalation"]).and_then(Value::as_bool) != Some(false);
        if let Some(who) = named(containers(pod).filter(|c| open(c))) {
            found.add("allowPrivilegeEscalation != false", format!("{who} must set securityContext.allowPrivilegeEscalation=false"));
        }
        capabilities(pod, found);
    }
    volumes(pod, found);
    if !in_user_namespace {
        non_root(pod, found);
        user(pod, found);
    }
    if !windows {
        seccomp(pod, found);
    }
}

fn capabilities(pod: &Value, found: &mut Found) {
    let list = |c: &Value, which: &str| value::items(c, &["securityContext", "capabilities", which]).to_vec();
    let mut details = Vec::new();
    if let Some(who) = named(containers(pod).filter(|c| !list(c, "drop").iter().any(|d| d == "ALL"))) {
        details.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    let adds = |c: &&Value| list(c, "add").iter().any(|a| a != "NET_BIND_SERVICE");
    if let Some(who) = named(containers(pod).filter(adds)) {
        let added = containers(pod).flat_map(|c| list(c, "add")).filter(|a| a != "NET_BIND_SERVICE");
        details.push(format!("{who} must not include {} in securityContext.capabilities.add", text_list(added)));
    }
    if !details.is_empty() {
        found.add("unrestricted capabilities", details.join("; "));
    }
}

fn volumes(pod: &Value, found: &mut Found) {
    let kind = |v: &Value| {
        let keys = v.as_object().map(|o| o.keys().filter(|k| *k != "name").cloned().collect::<Vec<_>>()).unwrap_or_default();
        keys.into_iter().find(|k| !VOLUMES.contains(&k.as_str()))
    };
    let bad: Vec<_> = value::items(pod, &["spec", "volumes"]).iter().filter_map(|v| Some((value::text(v, &["name"]), kind(v)?))).collect();
    if bad.is_empty() {
        return;
    }
    let names = text_list(bad.iter().map(|(n, _)| Value::from(*n)));
    let kinds = text_list(bad.iter().map(|(_, k)| Value::from(k.as_str())));
    let (volumes, uses, types) = if bad.len() == 1 { ("volume", "uses", "type") } else { ("volumes", "use", "types") };
    found.add("restricted volume types", format!("{volumes} {names} {uses} restricted volume {types} {kinds}"));
}

fn non_root(pod: &Value, found: &mut Found) {
    let set = |of: &Value| value::at(of, &["securityContext", "runAsNonRoot"]).and_then(Value::as_bool);
    let whole = pod.get("spec").and_then(set);
    if let Some(who) = named(containers(pod).filter(|c| set(c) == Some(false))) {
        found.add("runAsNonRoot != true", format!("{who} must not set securityContext.runAsNonRoot=false"));
    } else if whole == Some(false) && containers(pod).any(|c| set(c).is_none()) {
        found.add("runAsNonRoot != true", "pod must not set securityContext.runAsNonRoot=false".into());
    } else if whole != Some(true)
        && let Some(who) = named(containers(pod).filter(|c| set(c).is_none()))
    {
        found.add("runAsNonRoot != true", format!("pod or {who} must set securityContext.runAsNonRoot=true"));
    }
}

fn user(pod: &Value, found: &mut Found) {
    let root = |of: &Value| value::int(of, &["securityContext", "runAsUser"]) == Some(0);
    let mut who = Vec::new();
    if pod.get("spec").is_some_and(root) {
        who.push("pod".to_string());
    }
    who.extend(named(containers(pod).filter(|c| root(c))));
    if !who.is_empty() {
        found.add("runAsUser=0", format!("{} must not set runAsUser=0", who.join(" and ")));
    }
}

fn seccomp(pod: &Value, found: &mut Found) {
    let kind = |of: &Value| value::text(of, &["securityContext", "seccompProfile", "type"]).to_string();
    let good = |k: &str| matches!(k, "RuntimeDefault" | "Localhost");
    let whole = pod.get("spec").map(kind).unwrap_or_default();
    let mut who = Vec::new();
    if !whole.is_empty() && !good(&whole) {
        who.push("pod".to_string());
    }
    who.extend(named(containers(pod).filter(|c| !kind(c).is_empty() && !good(&kind(c)))));
    if !who.is_empty() {
        let kinds = pod.get("spec").into_iter().chain(containers(pod)).map(kind).filter(|k| !k.is_empty() && !good(k));
        let kinds = text_list(kinds.map(Value::from));
        found.add("seccompProfile", format!("{} must not set securityContext.seccompProfile.type to {kinds}", who.join(" and ")));
    } else if whole.is_empty()
        && let Some(who) = named(containers(pod).filter(|c| kind(c).is_empty()))
    {
        found.add(
            "seccompProfile",
            format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""),
        );
    }
}

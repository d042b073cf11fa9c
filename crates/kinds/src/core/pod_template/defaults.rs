//! What a pod is where its manifest does not say (`SetDefaults_PodSpec` and its kin).

use super::resources;
use crate::core::resource_names;
use crate::rules::get;
use meta::value;
use serde_json::{Value, json};

/// Some defaults are those of pods alone: a template keeps what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Pod,
    Template,
}

pub fn default_spec(spec: &mut Value, place: Place) {
    if !spec.is_object() {
        return;
    }
    for name in ["containers", "initContainers", "ephemeralContainers"] {
        for container in value::items_mut(spec, &[name]) {
            default_container(container);
        }
    }
    // Old and new name of the same field.
    for (from, to) in [("serviceAccountName", "serviceAccount"), ("serviceAccount", "serviceAccountName")] {
        let name = value::text(spec, &[from]).to_string();
        if !name.is_empty() && value::text(spec, &[to]).is_empty() {
            value::set(spec, &[to], name);
        }
    }
    value::fill(spec, &["restartPolicy"], "Always");
    value::default(spec, &["terminationGracePeriodSeconds"], 30);
    value::fill(spec, &["dnsPolicy"], "ClusterFirst");
    value::fill(spec, &["schedulerName"], "default-scheduler");
    value::default(spec, &["securityContext"], json!({}));
    if place == Place::Pod {
        value::default(spec, &["enableServiceLinks"], true);
        for name in ["containers", "initContainers"] {
            for container in value::items_mut(spec, &[name]) {
                requests_from_limits(container);
            }
        }
        pod_resources(spec);
    }
    if place == Place::Pod && value::flag(spec, &["hostNetwork"]) {
        for name in ["containers", "initContainers"] {
            for container in value::items_mut(spec, &[name]) {
                for port in value::items_mut(container, &["ports"]) {
                    let number = get(port, "containerPort").clone();
                    value::fill(port, &["hostPort"], number);
                }
            }
        }
    }
    for volume in value::items_mut(spec, &["volumes"]) {
        default_volume(volume);
    }
}

/// What a pod as a whole asks for, where it says only part of it.
fn pod_resources(spec: &mut Value) {
    let own = get(spec, "resources").clone();
    let some = |kind: &str| own.get(kind).and_then(Value::as_object).is_some_and(|m| !m.is_empty());
    if some("limits") || some("requests") {
        for (name, limit) in resources::aggregate(spec, "limits") {
            if resource_names::is_huge_page(&name) && value::at(&own, &["requests", &name]).is_none() {
                value::default(spec, &["resources", "limits", &name], limit.to_string());
            }
        }
    }
    let limits = value::at(spec, &["resources", "limits"]).and_then(Value::as_object).cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    for (name, amount) in resources::aggregate(spec, "requests") {
        if resource_names::is_pod_level(&name) && resource_names::may_overcommit(&name) {
            value::default(spec, &["resources", "requests", &name], amount.to_string());
        }
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| resource_names::is_pod_level(name)) {
        value::default(spec, &["resources", "requests", &name], limit);
    }
}

/// What is limited and asks for nothing asks for its limit.
fn requests_from_limits(container: &mut Value) {
    let limits = value::at(container, &["resources", "limits"]).and_then(Value::as_object).cloned();
    for (name, limit) in limits.into_iter().flatten() {
        value::default(container, &["resources", "requests", &name], limit);
    }
}

pub fn default_container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let policy = pull_policy(value::text(container, &["image"]));
    value::fill(container, &["imagePullPolicy"], policy);
    value::fill(container, &["terminationMessagePath"], "/dev/termination-log");
    value::fill(container, &["terminationMessagePolicy"], "File");
    value::default(container, &["resources"], json!({}));
    for port in value::items_mut(container, &["ports"]) {
        value::fill(port, &["protocol"], "TCP");
    }
    for env in value::items_mut(container, &["env"]) {
        if value::at(env, &["valueFrom", "fieldRef"]).is_some() {
            value::default(env, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
        if value::at(env, &["valueFrom", "resourceFieldRef"]).is_some() {
            value::default(env, &["valueFrom", "resourceFieldRef", "divisor"], "0");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if get(container, name).is_object() {
            default_probe(&mut container[name]);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(http) = value::at_mut(container, &["lifecycle", hook, "httpGet"]) {
            default_http(http);
        }
    }
}

/// Always for what may be another image tomorrow: one without tag and digest, or tagged `latest`.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    // What is no reference at all has no tag either.
    let repository =
        path.split_once('/').filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost").map_or(path, |(_, rest)| rest);
    let is_reference = !repository.is_empty() && !repository.bytes().any(|b| b.is_ascii_uppercase() || b == b' ');
    let latest = tag == Some("latest") || (tag.is_none() && digest.is_none());
    if is_reference && latest { "Always" } else { "IfNotPresent" }
}

fn default_http(http: &mut Value) {
    value::fill(http, &["path"], "/");
    value::fill(http, &["scheme"], "HTTP");
}

fn default_probe(probe: &mut Value) {
    for (name, number) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        value::fill(probe, &[name], number);
    }
    if let Some(http) = probe.get_mut("httpGet") {
        default_http(http);
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        value::default(grpc, &["service"], "");
    }
}

fn default_volume(volume: &mut Value) {
    // A volume of no kind is an empty directory.
    if volume.as_object().is_some_and(|v| v.keys().all(|k| k == "name")) {
        value::set(volume, &["emptyDir"], json!({}));
    }
    const MODE: i64 = 0o644;
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if get(volume, name).is_object() {
            value::default(volume, &[name, "defaultMode"], MODE);
        }
    }
    if get(volume, "hostPath").is_object() {
        value::default(volume, &["hostPath", "type"], "");
    }
    for item in value::items_mut(volume, &["downwardAPI", "items"]) {
        default_item(item);
    }
    for source in value::items_mut(volume, &["projected", "sources"]) {
        if get(source, "serviceAccountToken").is_object() {
            value::default(source, &["serviceAccountToken", "expirationSeconds"], 3600);
        }
        for item in value::items_mut(source, &["downwardAPI", "items"]) {
            default_item(item);
        }
    }
    if get(volume, "image").is_object() {
        let policy = pull_policy(value::text(volume, &["image", "reference"]));
        value::fill(volume, &["image", "pullPolicy"], policy);
    }
    if get(volume, "iscsi").is_object() {
        value::default(volume, &["iscsi", "iscsiInterface"], "default");
    }
    if let Some(spec) = value::at_mut(volume, &["ephemeral", "volumeClaimTemplate", "spec"]) {
        value::default(spec, &["volumeMode"], "Filesystem");
    }
}

fn default_item(item: &mut Value) {
    if get(item, "fieldRef").is_object() {
        value::default(item, &["fieldRef", "apiVersion"], "v1");
    }
    if get(item, "resourceFieldRef").is_object() {
        value::default(item, &["resourceFieldRef", "divisor"], "0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_may_change_are_always_pulled() {
        for image in ["nginx", "nginx:latest", "reg:5000/a/b", "nginx:latest@sha256:0123", "Reg.example:5000/x"] {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in ["nginx:1", "nginx@sha256:0123", "reg:5000/a:1", "Nginx"] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }

    #[test]
    fn a_minimal_pod_gets_what_upstream_gives_it() {
        let mut spec = json!({"containers": [{"name": "a", "image": "reg:5000/x", "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1"}}}], "volumes": [{"name": "v"}]});
        default_spec(&mut spec, Place::Pod);
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["livenessProbe"]["failureThreshold"], 3);
        assert_eq!(container["livenessProbe"]["httpGet"], json!({"port": 80, "path": "/", "scheme": "HTTP"}));
        assert_eq!(container["resources"]["requests"]["cpu"], "1");
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!((&spec["restartPolicy"], &spec["dnsPolicy"]), (&json!("Always"), &json!("ClusterFirst")));
        let again = spec.clone();
        default_spec(&mut spec, Place::Pod);
        assert_eq!(spec, again);
    }
}

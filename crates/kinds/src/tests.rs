//! All kinds against what a stock API server says of its own, where that is at hand.

use crate::registry::builtin;
use crate::{Kind, Subresource};
use meta::value;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

fn reference(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes-1.36")).join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent", path.display());
    None
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("the reference parses")
}

/// How discovery names it, for telling differences apart.
fn id(group: &str, version: &str, resource: &str) -> String {
    format!("{}/{version}/{resource}", if group.is_empty() { "core" } else { group })
}

/// Served upstream by default, and not here: all in alpha or beta.
const NOT_SERVED: [&str; 2] = ["alpha", "beta"];

/// A line for each resource and subresource with all that discovery says of it.
fn described(kind: &Arc<dyn Kind>) -> BTreeMap<String, String> {
    let names = kind.names();
    let id = id(&names.group, &names.version, &names.plural);
    let mut lines = BTreeMap::new();
    let scope = if names.namespaced() { "Namespaced" } else { "Cluster" };
    let mut verbs: Vec<&str> = kind.verbs().to_vec();
    verbs.sort_unstable();
    lines.insert(
        id.clone(),
        format!("{} {scope} {} short {:?} categories {:?} {verbs:?}", names.kind, names.singular, names.short_names, names.categories),
    );
    for subresource in kind.subresources() {
        let (own, all) = (("", "", &*names.kind), &["get", "patch", "update"][..]);
        let ((group, version, kind), verbs) = match &subresource {
            Subresource::Status => (own, all),
            Subresource::Update { verbs, .. } => (own, *verbs),
            Subresource::Scale(_) => (("autoscaling", "v1", "Scale"), all),
            Subresource::Create { kind, .. } => (*kind, &["create"][..]),
            Subresource::Connect { kind, verbs, .. } => (*kind, *verbs),
        };
        let mut verbs = verbs.to_vec();
        verbs.sort_unstable();
        lines.insert(format!("{id}/{}", subresource.name()), format!("{group}/{version} {kind} {verbs:?}"));
    }
    lines
}

#[test]
fn discovery_is_that_of_a_stock_api_server() {
    let Some(folder) = reference("discovery") else { return };
    let ours: BTreeMap<String, String> = builtin().iter().flat_map(described).collect();
    let served: BTreeSet<String> = builtin().iter().map(|k| k.names().group.to_string()).collect();
    let list =
        |value: &Value, name: &str| value::items(value, &[name]).iter().filter_map(Value::as_str).map(String::from).collect::<Vec<_>>();
    let mut theirs = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let document = read(entry.expect("readable").path());
        if document["kind"] != "APIResourceList" {
            continue;
        }
        let group_version = meta::GroupVersion::parse(value::text(&document, &["groupVersion"]));
        if !served.contains(&group_version.group) {
            continue;
        }
        for resource in value::items(&document, &["resources"]) {
            let name = value::text(resource, &["name"]);
            let id = id(&group_version.group, &group_version.version, name);
            let (kind, mut verbs) = (value::text(resource, &["kind"]), list(resource, "verbs"));
            verbs.sort_unstable();
            let line = if name.contains('/') {
                let of = |name| value::text(resource, &[name]);
                format!("{}/{} {kind} {verbs:?}", of("group"), of("version"))
            } else {
                let scope = if value::flag(resource, &["namespaced"]) { "Namespaced" } else { "Cluster" };
                let singular = value::text(resource, &["singularName"]);
                let (short, categories) = (list(resource, "shortNames"), list(resource, "categories"));
                format!("{kind} {scope} {singular} short {short:?} categories {categories:?} {verbs:?}")
            };
            theirs.insert(id, line);
        }
    }
    let mut wrong = Vec::new();
    for (id, line) in &theirs {
        match ours.get(id) {
            Some(own) if own == line => {}
            Some(own) => wrong.push(format!("{id}: {own}\n    instead of {line}")),
            None if NOT_SERVED.iter().any(|known| id.contains(known)) => {}
            None => wrong.push(format!("{id} is not served")),
        }
    }
    wrong.extend(ours.keys().filter(|id| !theirs.contains_key(*id)).map(|id| format!("{id} is not upstream's")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn groups_and_versions_are_listed_in_upstreams_order() {
    let Some(path) = reference("discovery/apis.json") else { return };
    let mut ours: Vec<String> = Vec::new();
    for kind in builtin().iter().filter(|kind| !kind.names().group.is_empty()) {
        let version = kind.names().group_version().to_string();
        if !ours.contains(&version) {
            ours.push(version);
        }
    }
    let document = read(path);
    let versions = value::items(&document, &["groups"]).iter().flat_map(|group| value::items(group, &["versions"]));
    let theirs: Vec<&str> = versions.map(|v| value::text(v, &["groupVersion"])).filter(|v| ours.iter().any(|o| o == v)).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn a_version_is_preferred_by_coming_first_and_no_resource_comes_twice() {
    let mut seen = BTreeSet::new();
    let mut groups: Vec<String> = Vec::new();
    for kind in builtin() {
        let names = kind.names();
        assert!(seen.insert((names.group_version(), names.plural.to_string())), "{} comes twice", names.plural);
        assert!(
            !kind.schema().types.is_empty() && !matches!(kind.schema().ty(kind.schema().root), meta::schema::Type::Any),
            "{}",
            names.kind
        );
        if groups.last().is_none_or(|last| *last != *names.group) {
            assert!(!groups.iter().any(|group| *group == *names.group), "group {} is in two places", names.group);
            groups.push(names.group.to_string());
        }
    }
}

/// The full objects of the reference, for every kind that is served.
fn wire_objects() -> Vec<(Arc<dyn Kind>, Value)> {
    let Some(folder) = reference("wire") else { return Vec::new() };
    let mut objects = Vec::new();
    for kind in builtin() {
        let names = kind.names();
        let group = if names.group.is_empty() { "core" } else { &names.group };
        let path = folder.join(format!("{group}.{}.{}.json", names.version, names.kind));
        if path.exists() {
            objects.push((kind.clone(), read(path)));
        } else {
            eprintln!("no object for {group} {}", names.kind);
        }
    }
    objects
}

#[test]
fn full_objects_are_decoded_whole_and_unchanged() {
    let mut wrong = Vec::new();
    for (kind, mut object) in wire_objects() {
        let given = object.clone();
        match meta::decode::check(&kind.schema(), &mut object) {
            Ok(unknown) if unknown.is_empty() && object == given => {}
            Ok(unknown) if unknown.is_empty() => wrong.push(format!("{}: changed on the way in", kind.names().kind)),
            Ok(unknown) => wrong.push(format!("{}: {unknown:?}", kind.names().kind)),
            Err(e) => wrong.push(format!("{}: {e}", kind.names().kind)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nothing that a client can send makes a kind panic, and what it makes of an object is settled at once.
#[test]
fn every_kind_defaults_once_and_fills_its_table() {
    let now = jiff::Timestamp::now();
    let mut samples = wire_objects();
    samples.extend(builtin().into_iter().map(|kind| (kind, serde_json::json!({"metadata": {"name": "x"}}))));
    for (kind, mut object) in samples {
        let name = kind.names().kind.to_string();
        kind.default(&mut object);
        let once = object.clone();
        kind.default(&mut object);
        assert_eq!(object, once, "defaults of {name}");
        let (columns, row) = (kind.columns(), kind.row(&object, now));
        assert_eq!(columns.len(), row.len(), "table of {name}");
        for (column, cell) in columns.iter().zip(&row) {
            assert!(!cell.is_object() && !cell.is_array(), "{name}: column {} has {cell}", column.name);
        }
        for field in kind.selectable_fields() {
            kind.selectable(&object, &field);
        }
        let mut new = object.clone();
        kind.prepare_create(&mut new);
        kind.validate(&new);
        kind.validate_create(&new);
        kind.warnings(&new, None);
        kind.prepare_update(&mut new, &object);
        assert!(kind.validate_update(&object, &object).is_empty(), "{name}: an update that changes nothing is refused");
        kind.prepare_status(&mut new, &object);
        kind.validate_status(&new, &object);
        if let Some(stored) = kind.stored_as() {
            (stored.to_stored)(&mut new);
            (stored.from_stored)(&mut new);
        }
    }
}

fn kind(group: &str, name: &str) -> Arc<dyn Kind> {
    builtin().into_iter().find(|k| k.names().group == group && k.names().kind == name).expect("a built-in kind")
}

fn refused(kind: &Arc<dyn Kind>, mut object: Value) -> String {
    kind.default(&mut object);
    kind.prepare_create(&mut object);
    let mut errors = kind.validate(&object);
    errors.extend(kind.validate_create(&object));
    if errors.is_empty() { String::new() } else { errors.to_string() }
}

#[test]
fn a_deployment_is_defaulted_checked_and_shown_as_upstream_does() {
    let deployment = kind("apps", "Deployment");
    let mut object = serde_json::json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "i:1"}]}}},
    });
    deployment.default(&mut object);
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    assert_eq!(object["spec"]["progressDeadlineSeconds"], 600);
    assert_eq!(refused(&deployment, object.clone()), "");
    let row = deployment.row(&object, "2026-01-01T01:00:00Z".parse().unwrap());
    assert_eq!(Value::from(row), serde_json::json!(["web", "0/1", 0, 0, "60m", "c", "i:1", "app=web"]));
    let mut wrong = object.clone();
    wrong["spec"]["template"]["metadata"]["labels"] = serde_json::json!({"app": "db"});
    wrong["spec"]["replicas"] = (-1).into();
    assert_eq!(
        refused(&deployment, wrong),
        "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, \
         spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`]"
    );
    // What is selected by nothing matches nothing.
    let mut loose = object.clone();
    loose["spec"].as_object_mut().unwrap().remove("selector");
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`";
    assert_eq!(refused(&kind("apps", "DaemonSet"), loose.clone()), mismatch);
    assert_eq!(refused(&deployment, loose), format!("[spec.selector: Required value, {mismatch}]"));
    let mut moved = object.clone();
    moved["spec"]["selector"]["matchLabels"]["app"] = "db".into();
    let errors = deployment.validate_update(&moved, &object).to_string();
    assert!(errors.starts_with("spec.selector: Invalid value: ") && errors.ends_with(": field is immutable"), "{errors}");
}

#[test]
fn a_job_selects_its_pods_by_its_uid() {
    let job = kind("batch", "Job");
    let mut object = serde_json::json!({
        "metadata": {"name": "once", "uid": "u-1"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    job.default(&mut object);
    job.prepare_create(&mut object);
    assert_eq!(object["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], "u-1");
    assert_eq!(object["spec"]["template"]["metadata"]["labels"]["job-name"], "once");
    assert_eq!(job.validate(&object).0, []);
    assert_eq!(job.row(&object, jiff::Timestamp::now())[..3], ["once".into(), "Running".into(), Value::from("0/1")]);
    object["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    assert!(
        job.validate(&object)
            .to_string()
            .contains("spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"")
    );
}

#[test]
fn an_ingress_without_a_backend_is_refused() {
    let ingress = kind("networking.k8s.io", "Ingress");
    let object = serde_json::json!({"metadata": {"name": "i"}, "spec": {"rules": [
        {"host": "1.2.3.4"}, {"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {}}]}}]}});
    assert_eq!(
        refused(&ingress, object),
        "[spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address, \
         spec.rules[1].http.paths[0].path: Invalid value: \"x\": must be an absolute path, \
         spec.rules[1].http.paths[0].backend: Invalid value: \"\": resource or service backend is required]"
    );
}

#[test]
fn a_binding_cannot_change_its_role() {
    let binding = kind("rbac.authorization.k8s.io", "RoleBinding");
    let mut old = serde_json::json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    binding.default(&mut old);
    assert_eq!(old["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(refused(&binding, old.clone()), "");
    let mut new = old.clone();
    new["roleRef"]["name"] = "other".into();
    assert!(binding.validate_update(&new, &old).to_string().ends_with("cannot change roleRef"));
}

#[test]
fn a_stateful_set_keeps_what_its_pods_are_named_and_stored_by() {
    let set = kind("apps", "StatefulSet");
    let mut old = serde_json::json!({"metadata": {"name": "db"}, "spec": {
        "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"restartPolicy": "Always", "containers": [
            {"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}}}});
    set.default(&mut old);
    assert_eq!(old["spec"]["volumeClaimTemplates"][0]["status"]["phase"], "Pending");
    assert_eq!(refused(&set, old.clone()), "");
    let mut new = old.clone();
    new["spec"]["replicas"] = 3.into();
    assert!(set.validate_update(&new, &old).is_empty());
    new["spec"]["serviceName"] = "other".into();
    assert_eq!(
        set.validate_update(&new, &old).to_string(),
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
         'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    );
}

#[test]
fn a_network_policy_says_what_it_is_about() {
    let policy = kind("networking.k8s.io", "NetworkPolicy");
    let mut object = serde_json::json!({"metadata": {"name": "p"}, "spec": {"egress": [
        {"ports": [{"port": 53}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "11.0.0.0/16"]}}]}]}});
    policy.default(&mut object);
    assert_eq!(object["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert_eq!(object["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(
        refused(&policy, object),
        "spec.egress[0].to[0].ipBlock.except[1]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"
    );
}

#[test]
fn a_definition_remembers_the_versions_it_stored_in() {
    let definition = kind("apiextensions.k8s.io", "CustomResourceDefinition");
    let version = |name: &str, storage: bool| serde_json::json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let mut object = serde_json::json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"}, "versions": [version("v1", true)]}});
    definition.default(&mut object);
    definition.prepare_create(&mut object);
    assert_eq!(object["spec"]["names"]["listKind"], "ThingList");
    assert_eq!(definition.validate(&object).0, []);
    let mut next = object.clone();
    next["spec"]["versions"] = serde_json::json!([version("v2", true)]);
    definition.prepare_update(&mut next, &object);
    assert_eq!(next["status"]["storedVersions"], serde_json::json!(["v1", "v2"]));
    assert!(
        definition.validate(&next).to_string().starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions")
    );
}

#[test]
fn a_certificate_request_is_stamped_and_decided_once() {
    use base64::Engine;
    let request = kind("certificates.k8s.io", "CertificateSigningRequest");
    let signed = rcgen::CertificateParams::default().serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let pem = base64::engine::general_purpose::STANDARD.encode(signed.pem().unwrap());
    let mut old = serde_json::json!({"metadata": {"name": "r"}, "spec": {
        "request": pem, "signerName": "example.com/s", "usages": ["client auth"], "username": "somebody-else"}});
    request.prepare_create(&mut old);
    request.stamp_requester(&mut old, &serde_json::json!({"username": "me", "uid": "", "groups": ["g"], "extra": {}}));
    assert_eq!(old["spec"]["username"], "me");
    assert!(old["spec"].get("extra").is_none());
    assert_eq!(request.validate(&old).0, []);
    let mut empty = old.clone();
    empty["spec"]["request"] = base64::engine::general_purpose::STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----\n").into();
    assert!(request.validate(&empty).to_string().ends_with("PEM block type must be CERTIFICATE REQUEST"));
    let Some(Subresource::Update { prepare, validate, .. }) = request.subresources().into_iter().find(|s| s.name() == "approval") else {
        panic!("approval is a subresource")
    };
    let mut new = old.clone();
    new["spec"]["username"] = "forged".into();
    new["status"] = serde_json::json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "forged"});
    prepare(&mut new, &old);
    assert_eq!((new["spec"]["username"].as_str(), new["status"].get("certificate")), (Some("me"), None));
    assert!(validate(&new, &old).is_empty());
    assert!(validate(&old, &new).to_string().contains("updates may not remove a condition of type \"Approved\""));
    assert_eq!(request.row(&new, jiff::Timestamp::now())[5], "Approved");
    assert!(!request.validate_status(&new, &old).is_empty(), "the status cannot approve");
}

#[test]
fn an_autoscaler_names_the_group_of_what_it_scales() {
    for (version, kind) in
        builtin().into_iter().filter(|k| k.names().kind == "HorizontalPodAutoscaler").map(|k| (k.names().version.clone(), k))
    {
        let scaler = |target: Value| serde_json::json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
        let deployment = |api: &str| scaler(serde_json::json!({"apiVersion": api, "kind": "Deployment", "name": "d"}));
        assert_eq!(refused(&kind, deployment("apps/v1")), "", "{version}");
        let wrong = refused(&kind, deployment("v1"));
        assert_eq!(wrong, "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group", "{version}");
        assert_eq!(refused(&kind, scaler(serde_json::json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "r"}))), "");
        // One that is there already stays.
        assert_eq!(kind.validate_update(&deployment("v1"), &deployment("v1")).0, []);
    }
}
